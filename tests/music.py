"""Music made by code, for tests: nothing is stored, everything is seeded.

Every piece has a tune of its own (a seeded random walk), so that pieces of one folder are as
different as real ones are. `write_midi` is the base; the `make_*` functions fill folders.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import mido
import numpy as np
import soundfile

TICKS = 480
MAJOR = (0, 2, 4, 5, 7, 9, 11)

Note = tuple[float, float, int, int]  # onset and duration in quarters, pitch, velocity


def write_midi(
    path: Path,
    parts: list[tuple[int, int, list[Note]]],
    *,
    tempos: list[tuple[float, int]] = ((0, 500_000),),
    controls: list[tuple[float, int, int, int]] = (),
    ticks: int = TICKS,
) -> Path:
    """Write parts (channel, program, notes) as a MIDI file of format 1.

    `tempos` are (quarter, microseconds per quarter), `controls` (quarter, channel, number, value).
    """
    file = mido.MidiFile(type=1, ticks_per_beat=ticks)
    events = [(q, mido.MetaMessage("set_tempo", tempo=tempo)) for q, tempo in tempos]
    control = "control_change"
    events += [
        (q, mido.Message(control, channel=channel, control=number, value=value))
        for q, channel, number, value in controls
    ]
    file.tracks.append(_track(events, ticks))
    for channel, program, notes in parts:
        events = [(0, mido.Message("program_change", channel=channel, program=program))]
        for onset, duration, pitch, velocity in notes:
            note = {"channel": channel, "note": pitch}
            events.append((onset, mido.Message("note_on", velocity=velocity, **note)))
            events.append((onset + duration, mido.Message("note_off", **note)))
        file.tracks.append(_track(events, ticks))
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


def _track(events: list, ticks: int) -> mido.MidiTrack:
    """Events by time, ends of notes before their beginnings."""
    track, now = mido.MidiTrack(), 0
    for quarter, message in sorted(events, key=lambda e: (round(e[0] * ticks), _rank(e[1]))):
        tick = round(quarter * ticks)
        track.append(message.copy(time=tick - now))
        now = tick
    return track


def _rank(message) -> int:
    return {"note_off": 0, "note_on": 2}.get(message.type, 1)


def tune(random: Random, quarters: float, low: int = 67, high: int = 84) -> list[Note]:
    """A melody in C major: steps and leaps, quarters, eighths and halves."""
    notes, now, degree = [], 0.0, random.randrange(7, 12)
    while now < quarters:
        duration = random.choice([0.5, 0.5, 1, 1, 1, 2])
        degree += random.choice([-4, -3, -2, -1, -1, 0, 1, 1, 2, 3, 4])
        pitch = 60 + 12 * (degree // 7) + MAJOR[degree % 7]
        while not low <= pitch <= high:
            degree += 7 if pitch < low else -7
            pitch = 60 + 12 * (degree // 7) + MAJOR[degree % 7]
        notes.append((now, duration, pitch, random.randrange(60, 100)))
        now += duration
    return notes


def chords(
    random: Random, quarters: float, low: int = 48, voices: int = 3, every: int = 2
) -> list[Note]:
    """Triads of C major under a tune."""
    notes = []
    for start in range(0, int(quarters), every):
        root = random.choice([0, 0, 3, 4, 5, 1])
        for voice in range(voices):
            degree = root + 2 * voice
            pitch = low + 12 * (degree // 7) + MAJOR[degree % 7]
            notes.append((float(start), float(every), pitch, random.randrange(50, 80)))
    return notes


def chorale(path: Path, random: Random, quarters: int | None = None) -> Path:
    """Four parts on piano: a tune, two inner voices and a bass."""
    quarters = quarters or random.randrange(44, 72)
    tempo = random.randrange(480_000, 620_000)
    inner = chords(random, quarters, low=55, voices=2, every=1)
    parts = [
        (0, 0, tune(random, quarters)),
        (0, 0, inner[::2]),
        (0, 0, inner[1::2]),
        (0, 0, tune(random, quarters, low=36, high=52)),
    ]
    return write_midi(path, parts, tempos=[(0, tempo)])


def multitrack(path: Path, random: Random) -> Path:
    """A pop song: melody, chords, bass, pad, and drums on channel 10."""
    quarters = random.randrange(48, 80)
    drums = [
        (q / 2, 0.25, 36 if q % 4 == 0 else 38 if q % 4 == 2 else 42, 90)
        for q in range(2 * quarters)
    ]
    parts = [
        (0, random.choice([40, 56, 65, 73, 80]), tune(random, quarters)),
        (1, random.choice([0, 4, 24, 27]), chords(random, quarters)),
        (2, random.choice([32, 33, 38]), chords(random, quarters, low=36, voices=1, every=1)),
        (3, random.choice([48, 50, 89]), chords(random, quarters, low=60, every=4)),
        (9, 0, drums),
    ]
    return write_midi(path, parts, tempos=[(0, random.randrange(400_000, 600_000))])


def piano(path: Path, random: Random) -> Path:
    """An expressive performance in one track: free timing, velocities, pedal, changing tempo."""
    quarters = random.randrange(40, 64)
    notes = tune(random, quarters) + chords(random, quarters, low=43)
    free = [
        (max(0.0, onset + random.gauss(0, 0.02)), duration * random.uniform(0.6, 1.1), pitch,
         min(127, max(12, velocity + random.randrange(-30, 25))))
        for onset, duration, pitch, velocity in notes
    ]  # fmt: skip
    pedal = [(q + at, 0, 64, value) for q in range(0, quarters, 4) for at, value in
             ((0.1, 127), (3.8, 0))]  # fmt: skip
    tempos = [(q, random.randrange(420_000, 640_000)) for q in range(0, quarters, 8)]
    return write_midi(path, [(0, 0, _apart(free))], tempos=tempos, controls=pedal)


def _apart(notes: list[Note]) -> list[Note]:
    """Notes of one pitch end before it sounds again."""
    last: dict[int, int] = {}
    result = sorted(notes)
    for i, (onset, duration, pitch, velocity) in enumerate(result):
        if pitch in last:
            j = last[pitch]
            before = result[j]
            end = min(before[1], max(0.02, onset - before[0] - 0.01))
            result[j] = (before[0], end, before[2], before[3])
        result[i] = (onset, duration, pitch, velocity)
        last[pitch] = i
    return result


def tones(random: Random, seconds: float, rate: int, channels: int) -> np.ndarray:
    """A tune of decaying harmonic tones: float32 [samples, channels]."""
    samples = np.zeros(round(seconds * rate))
    onset = 0.0
    while onset < seconds - 0.1:
        length = random.choice([0.25, 0.5, 0.5, 1.0])
        start = round(onset * rate)
        time = np.arange(min(round(length * rate), len(samples) - start)) / rate
        pitch = 440 * 2 ** (random.randrange(-20, 16) / 12)
        wave = sum(np.sin(2 * np.pi * pitch * h * time) / h**2 for h in (1, 2, 3))
        samples[start : start + len(time)] += 0.2 * wave * np.exp(-3 * time)
        onset += length
    gains = np.linspace(1.0, 0.8, channels)
    return (samples[:, None] * gains).astype(np.float32)


def recording(path: Path, random: Random, rate: int = 44100, channels: int = 2) -> Path:
    """A recording of 20 to 30 seconds; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tones(random, random.uniform(20, 30), rate, channels), rate)
    return path


def make_chorales(folder: Path, n: int, seed: int = 0) -> list[Path]:
    """n pieces in four parts."""
    return [chorale(folder / f"chorale-{i:03d}.mid", Random(f"{seed}/{i}")) for i in range(n)]


def make_multitrack(folder: Path, n: int, seed: int = 0) -> list[Path]:
    """n songs with drums, in subfolders."""
    return [
        multitrack(folder / f"album {i % 3}" / f"Song {i:03d}.mid", Random(f"m{seed}/{i}"))
        for i in range(n)
    ]


def make_piano(folder: Path, n: int, seed: int = 0) -> list[Path]:
    """n expressive piano performances in one track."""
    return [piano(folder / f"take-{i:03d}.midi", Random(f"p{seed}/{i}")) for i in range(n)]


def make_mixed(folder: Path, n: int, seed: int = 0) -> list[Path]:
    """n pieces: MIDI, WAV, FLAC and MP3 in turn, of several rates and channels."""
    paths = []
    for i in range(n):
        random, suffix = Random(f"x{seed}/{i}"), ("mid", "wav", "flac", "mp3")[i % 4]
        path = folder / suffix / f"piece-{i:03d}.{suffix}"
        if suffix == "mid":
            paths.append(chorale(path, random))
        else:
            rate, channels = ((44100, 2), (48000, 1), (32000, 2))[(i // 4) % 3]
            paths.append(recording(path, random, rate, channels))
    return paths


NAMES_OF_KEYS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")


def played(folder: Path, random: Random, bars: int = 12, upbeat: int = 1, tonic: int = 0) -> dict:
    """A song as POP909 has it: three tracks played freely, beats, chords, keys and a version.

    The tempo sways by a tenth, and no note is nearer to its sixteenth than people play. What was
    meant stands in what is returned: notes (onset and duration in quarters from the first beat,
    pitch) of each track. Bars have four quarters, the first `upbeat` of them come before.
    """
    name, quarters = folder.name, upbeat + 4 * bars
    lengths = [
        0.6 * (1 + 0.1 * np.sin(q / 7)) * random.uniform(0.99, 1.01) for q in range(quarters)
    ]
    beats = 0.4 + np.concatenate([[0], np.cumsum(lengths)])

    def seconds(quarter: float) -> float:
        return float(np.interp(quarter, range(quarters + 1), beats))

    moved = tune(random, quarters - 2, 60, 84)
    meant = {
        "MELODY": [(q, d, p + tonic, v) for q, d, p, v in moved],
        "BRIDGE": [(q + 0.5, 0.25, p + tonic, v) for q, d, p, v in moved if d >= 1],
        "PIANO": [(q, d, p + tonic, v) for q, d, p, v in chords(random, quarters - 2)],
    }
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS)
    for track_name, notes in meant.items():
        events = [(0, mido.MetaMessage("track_name", name=track_name))]
        for onset, duration, pitch, velocity in notes:
            begin, end = (
                2 * (seconds(quarter) + random.uniform(-0.02, 0.02))
                for quarter in (onset, onset + duration)
            )
            events.append((begin, mido.Message("note_on", note=pitch, velocity=velocity)))
            events.append((end - 0.03, mido.Message("note_off", note=pitch)))
        file.tracks.append(_track(events, TICKS))  # at 120 a minute, whatever is played
    (folder / "versions").mkdir(parents=True)
    file.save(folder / f"{name}.mid")
    file.save(folder / "versions" / f"{name}-v1.mid")
    bar = [(q - upbeat) % 4 for q in range(quarters + 1)]
    lines = {
        "beat_midi.txt": [
            f"{beats[q]} {float(b % 2 == 0)} {float(b == 0)}" for q, b in enumerate(bar)
        ],
        "key_audio.txt": [f"{beats[0]}\t{beats[-1]}\t{NAMES_OF_KEYS[tonic % 12]}:maj"],
        "chord_midi.txt": [f"{beats[0]:.6f}\t{beats[-1]:.6f}\tC:maj"],
    }
    for file_name, rows in lines.items():
        (folder / file_name).write_text("\n".join(rows) + "\n")
    return {track: [note[:3] for note in notes] for track, notes in meant.items()}
