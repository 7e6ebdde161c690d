"""A folder of music as nobody wishes it: sound files among damaged, odd, hostile and foreign ones.

    python tests/fuzz_corpus.py FOLDER [FILES]

The same number of files gives the same folder on every machine (of the same versions of
libsndfile and mido). `make` says of each file what has to come of it.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import music
import mutations
import numpy as np
import soundfile

RATE = 24000
KEPT, ANY, PASSED = "kept", "", "passed over"  # ANY: a row, whichever

Case = tuple[str, bytes, str]  # relative path, content, what has to come of it

FORMATS = ("wav", "flac", "ogg", "mp3", "aiff", "opus", "mid")
FOREIGN = {
    "page": b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not found</body></html>",
    "login": b"\xef\xbb\xbf\n <html lang=en><body>Please log in</body></html>",
    "zeros": bytes(5000),
    "text": "Grüße, kein Ton.\n".encode() * 40,
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n",
    "zip": b"PK\x03\x04" + bytes(range(256)),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(300),
    "pdf": b"%PDF-1.7\n" + bytes(300),
    "movie": b"\0\0\0\x20ftypM4A " + bytes(300),
    "score": b'<?xml version="1.0"?><score-partwise version="3.1"></score-partwise>',
    "noise": bytes(Random(9).randrange(256) for _ in range(4000)),
}
NAMES = (
    *(
        "with space",
        " leading",
        "trailing ",
        "two  spaces",
        "tab\there",
        "line\nend",
        "return\rend",
    ),
    *("quote'single", 'quote"double', "back\\slash", "-rf", "--help", "$(touch x)", "`id`", "a;b"),
    *("a|b", "a&b", "star*", "what?", "{corpus}", "{{x}}", "%s%n", "#hash", "~", "a,b;c", "=1+1"),
    *(
        "é ü ß",
        "日本語",
        "🎹",
        "עברית",
        "e\u0301",
        "\u202eright",
        "\u200bnothing",
        "dots...",
        "NUL",
    ),
    *("a.mid.mid", "UPPER", "x" * 251, os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xff\xfe")),
)


def _crc(byte: int) -> int:
    """Ogg's checksum of one byte."""
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ 0x04C11DB7 if value >> 31 else value << 1) & 0xFFFFFFFF
    return value


CRC = [_crc(byte) for byte in range(256)]


def make(root: Path, files: int = 300, seed: int = 0) -> dict[str, str]:
    """Fill a folder with `files` files or more; what has to come of each, by its relative path.

    All kinds are there, however few are asked for; beyond them there are mutated ones.
    """
    cases = [case for kind in KINDS for case in kind(seed)]
    cases += _mutated(max(20, files - len(cases)), seed)
    for name, data, _ in cases:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return {name: end for name, _, end in cases} | _links(root)


def sound(form: str, random: Random, seconds: float = 3.0) -> bytes:
    """A sound file of one of FORMATS."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"a.{form}")
        if form == "mid":
            music.chorale(path, random, quarters=max(12, round(2 * seconds)))
        else:
            rate, sub = (48000, "OPUS") if form == "opus" else (RATE, None)
            wave = music.tones(random, seconds, rate, 1)
            kind = "OGG" if form == "opus" else None
            soundfile.write(path, wave, rate, sub, format=kind)
        data = path.read_bytes()
    return _settled(data) if data[:4] == b"OggS" else data


def _settled(data: bytes) -> bytes:
    """An Ogg file whose stream has the number 1, where libsndfile takes one by chance."""
    pages = bytearray(data)
    at = 0
    while at < len(pages):
        lengths = pages[at + 27 : at + 27 + pages[at + 26]]
        end = at + 27 + len(lengths) + sum(lengths)
        pages[at + 14 : at + 18] = struct.pack("<I", 1)
        pages[at + 22 : at + 26] = bytes(4)
        checksum = 0
        for byte in pages[at:end]:
            checksum = CRC[checksum >> 24 ^ byte] ^ checksum << 8 & 0xFFFFFFFF
        pages[at + 22 : at + 26] = struct.pack("<I", checksum)
        at = end
    return bytes(pages)


def _random(seed: int, *key: object) -> Random:
    return Random(f"fuzz/{seed}/{'/'.join(map(str, key))}")


def _good(seed: int) -> Iterator[Case]:
    for number in range(21):
        form = FORMATS[number % len(FORMATS)]
        random = _random(seed, "good", number)
        yield f"good/{number:02d}.{form}", sound(form, random, 6.0), KEPT


def _truncated(seed: int) -> Iterator[Case]:
    for form in FORMATS:
        whole = sound(form, _random(seed, "cut", form), 8.0)
        for share in (0.3, 0.6, 0.97):
            yield f"cut/{share:.0%}.{form}", whole[: int(len(whole) * share)], "ends_early"
        yield f"cut/nothing.{form}", b"", "empty_file"


def _foreign(_: int) -> Iterator[Case]:
    """What is no music, by a name that says it is."""
    for what, data in FOREIGN.items():
        for form in ("mid", "wav", "mp3", "flac"):
            end = ANY if what == "noise" else "corrupt_midi" if form == "mid" else "corrupt_audio"
            yield f"foreign/{what}.{form}", data, end
    for name in ("notes.txt", "cover.jpg", "song.m4a", "no suffix", "Thumbs.db"):
        yield f"foreign/{name}", b"hello", "unsupported_type"
    yield "foreign/wave.mid", sound("wav", Random(1)), "corrupt_midi"
    yield "foreign/midi.wav", sound("mid", Random(1)), "corrupt_audio"


def floating(samples: np.ndarray, kind: str = "<f4") -> bytes:
    """The bytes of a WAV in floating point, without the time of day in its header."""
    data = samples.astype(kind).tobytes()
    width = np.dtype(kind).itemsize
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, RATE, RATE * width, width, 8 * width)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _numbers(seed: int) -> Iterator[Case]:
    """Samples that are numbers but no sound, and some that look so and are one."""
    wave = music.tones(_random(seed, "numbers"), 4.0, RATE, 1)[:, 0].astype(np.float64)
    wave /= np.abs(wave).max()
    for peak in (3e38, 1e37, 1e20, 1e6, 32768.0):
        yield f"numbers/{peak:g}.wav", floating(wave * peak), "not_sound"
    noise = np.random.default_rng(seed).uniform(-3e38, 3e38, len(wave))
    yield "numbers/noise.wav", floating(noise), "not_sound"
    yield "numbers/double.wav", floating(wave * 1e300, "<f8"), "not_sound"
    for name, value in (("nan", np.nan), ("inf", np.inf), ("-inf", -np.inf)):
        bad = wave.copy()
        bad[len(bad) // 2] = value
        yield f"numbers/{name}.wav", floating(bad), "non_finite_samples"
    one = wave.copy()
    one[7] = 1e30
    yield "numbers/one sample.wav", floating(one), "not_sound"
    yield "numbers/silence.wav", floating(0 * wave), "silent"
    yield "numbers/direct current.wav", floating(0 * wave + 0.5), "silent"
    yield "numbers/hot.wav", floating(4 * wave[::-1]), KEPT
    yield "numbers/tiny.wav", floating(1e-30 * wave), "silent"


def _headers(seed: int) -> Iterator[Case]:
    """MIDI headers: longer ones are legal, of another type or resolution not all."""
    for size in (7, 8, 10, 100):
        data = sound("mid", _random(seed, "header", size))
        head = data[:4] + struct.pack(">I", size) + data[8:14] + bytes(size - 6)
        yield f"headers/{size} bytes.mid", head + data[14:], KEPT
    data = sound("mid", _random(seed, "types"))
    yield "headers/type 2.mid", data[:9] + b"\2" + data[10:], "unsupported_midi"
    yield "headers/type 9.mid", data[:9] + b"\x09" + data[10:], "corrupt_midi"
    yield "headers/5 bytes.mid", data[:7] + b"\5" + data[8:], "corrupt_midi"
    yield "headers/no tracks.mid", data[:14], "ends_early"
    yield "headers/smpte.mid", data[:12] + b"\xe7\x28" + data[14:], "unsupported_midi"
    yield "headers/0 ticks.mid", data[:12] + b"\0\0" + data[14:], "corrupt_midi"
    one = struct.pack(">4sIHHH", b"MThd", 6, 2, 1, 480) + data[data.rindex(b"MTrk") :]
    yield "headers/type 2, one track.mid", one, KEPT
    yield "headers/rmi.rmi", b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + sound("mid", Random(5)), KEPT


def _pitches(seed: int) -> Iterator[Case]:
    """The lowest and the highest pitches, black keys and white."""
    with TemporaryDirectory() as folder:
        for pitch in (*range(12), 126, 127):
            random, path = _random(seed, "pitch", pitch), Path(folder, "a.mid")
            notes = [(q, 1, 48 + random.randrange(24), 80) for q in range(1, 20)]
            music.write_midi(path, [(0, 0, [(0, 1, pitch, 80), *notes])])
            yield f"pitches/{pitch}.mid", path.read_bytes(), KEPT


def _hostile(seed: int) -> Iterator[Case]:
    for number, name in enumerate(NAMES):
        data = sound("mid", _random(seed, "names", number))
        yield f"names/{name}.{'MID' if name == 'UPPER' else 'mid'}", data, KEPT
    deep = "/".join(f"{level}" for level in range(60))
    yield f"deep/{deep}/a.mid", sound("mid", _random(seed, "deep")), KEPT
    yield "a folder.wav/a.mid", sound("mid", _random(seed, "folder")), KEPT


def _hidden(_: int) -> Iterator[Case]:
    for name in (".hidden.mid", ".mid", "._apple.mp3", ".git/x.mid", "good/.DS_Store"):
        yield f"{name}", b"hidden", PASSED


KINDS: list[Callable[[int], Iterator[Case]]] = [
    *(_good, _truncated, _foreign, _numbers, _headers, _pitches, _hostile, _hidden),
]


def _mutated(count: int, seed: int) -> Iterator[Case]:
    random = _random(seed, "mutated")
    whole = {form: sound(form, random) for form in FORMATS}
    for number in range(count):
        form = FORMATS[number % len(FORMATS)]
        data = whole[form]
        for _ in range(random.choice([1, 1, 2])):
            change = random.choice(mutations.MUTATIONS)
            data = change(data, random, whole[random.choice(FORMATS)])
        yield f"mutated/{number:03d}.{form}", data, ANY


def _links(root: Path) -> dict[str, str]:
    """Links that lead nowhere, around, or twice to one place; and a pipe."""
    folder = root / "links"
    folder.mkdir()
    (folder / "dead.mid").symlink_to("nowhere")
    (folder / "self.mid").symlink_to("self.mid")
    (folder / "up").symlink_to("..")
    (folder / "copy.mid").symlink_to("../good/06.mid")
    os.mkfifo(folder / "pipe.mid")
    unreadable = dict.fromkeys(["links/dead.mid", "links/self.mid"], "unreadable")
    passed = dict.fromkeys(["links/up", "links/pipe.mid"], PASSED)
    return unreadable | passed | {"links/copy.mid": KEPT}


if __name__ == "__main__":
    found = make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300)
    print(len(found), "files")
