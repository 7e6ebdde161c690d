"""Files that were music once: made by code from a seed, then broken in the ways files break.

Bytes flip, ends are lost, parts of two files are joined, blocks are repeated or zeroed, and fields
of the header say what cannot be. The same seed gives the same files on every machine (of the same
versions of libsndfile and mido).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import music
import soundfile

# Numbers that a header likes to lie with.
ABSURD = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

# Name, rate, channels and libsndfile's sample format of the recordings that are broken.
RECORDINGS = [
    ("int16.wav", 24000, 1, "PCM_16"),
    ("int24.wav", 48000, 2, "PCM_24"),
    ("int32.wav", 44100, 1, "PCM_32"),
    ("uint8.wav", 24000, 2, "PCM_U8"),
    ("float.wav", 32000, 6, "FLOAT"),
    ("flac16.flac", 24000, 2, "PCM_16"),
    ("flac24.flac", 96000, 1, "PCM_24"),
    ("vorbis.ogg", 44100, 2, "VORBIS"),
    ("opus.ogg", 48000, 1, "OPUS"),
    ("layer3.mp3", 44100, 2, "MPEG_LAYER_III"),
    ("big-endian.aiff", 24000, 1, "PCM_16"),
]


def originals(folder: Path) -> list[Path]:
    """Sound files of every kind, a few seconds each."""
    paths = [
        music.chorale(folder / "chorale.mid", Random("o1"), quarters=12),
        music.multitrack(folder / "song.mid", Random("o2")),
        music.piano(folder / "piano.midi", Random("o3")),
    ]
    for i, (name, rate, channels, subtype) in enumerate(RECORDINGS):
        wave = music.tones(Random(f"o{i}"), 3.0, rate, channels)
        soundfile.write(folder / name, wave, rate, subtype)
        paths.append(folder / name)
    return paths


def mutate(folder: Path, count: int, seed: int) -> list[Path]:
    """Write `count` broken files into a folder; each bears the name of the sound one."""
    random, paths = Random(seed), []
    (folder.parent / "sound").mkdir(parents=True, exist_ok=True)
    sound = [(path.name, path.read_bytes()) for path in originals(folder.parent / "sound")]
    for i in range(count):
        name, data = sound[i % len(sound)]
        for _ in range(random.choice([1, 1, 1, 2, 4])):
            data = random.choice(MUTATIONS)(data, random, random.choice(sound)[1])
        path = folder / f"{i // 100:02d}" / f"{i:04d}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return paths


def _flip(data: bytes, random: Random, _: bytes) -> bytes:
    broken = bytearray(data)
    reach = random.choice([64, len(data)])
    for _ in range(random.choice([1, 3, 30])):
        if broken:
            broken[random.randrange(min(reach, len(broken)))] ^= 1 << random.randrange(8)
    return bytes(broken)


def _truncate(data: bytes, random: Random, _: bytes) -> bytes:
    return data[: random.randrange(min(len(data), random.choice([60, 10**9])) + 1)]


def _splice(data: bytes, random: Random, other: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other)) :]


def _repeat(data: bytes, random: Random, _: bytes) -> bytes:
    at, size = random.randrange(len(data) + 1), random.choice([1, 7, 500])
    return data[: at + size] + data[at : at + size] * random.choice([1, 20]) + data[at + size :]


def _lose(data: bytes, random: Random, _: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice([1, 2, 300]) :]


def _blank(data: bytes, random: Random, _: bytes) -> bytes:
    at, size = random.randrange(len(data) + 1), random.choice([4, 100, 5000])
    fill = random.choice([b"\0", b"\xff"])
    return data[:at] + fill * len(data[at : at + size]) + data[at + size :]


def _lie(data: bytes, random: Random, _: bytes) -> bytes:
    """A field of the header gets an absurd number."""
    at, width = random.randrange(min(64, len(data)) + 1), random.choice([1, 2, 4])
    number = random.choice(ABSURD) % 256**width
    return data[:at] + number.to_bytes(width, random.choice(["big", "little"])) + data[at + width :]


MUTATIONS: list[Callable[[bytes, Random, bytes], bytes]] = [
    *(_flip, _truncate, _splice, _repeat, _lose, _blank, _lie, _lie),
]
