"""docs/bad-input.md, case by case: a folder of odd files from ingest through render to cuts."""

from __future__ import annotations

import ctypes
import faulthandler
import struct
from random import Random

import music
import numpy as np
import pytest
import soundfile

from etude.audio import cuts
from etude.audio.cuts import cut_shard, kept_segments
from etude.config import Cut, FolderCorpus
from etude.corpus import ingest
from etude.corpus.ingest import ingest_shard
from etude.midi import render as module
from etude.midi.render import render_shard
from etude.storage import read_csv

RATE = 16000
NOTES = [(q, 1, 60 + q % 12, 80) for q in range(12)]
LEVEL = 0.5


def road(folder, out, threads=2):
    """For each file: the reasons of ingest and of render, and how many segments are kept."""
    corpus = FolderCorpus(source="folder", path=folder, shards=1, render={"rate": RATE})
    ingest_shard(corpus, folder, 0, out / "ingest.csv", threads)
    render_shard(corpus, out / "ingest.csv", folder, out / "wav", threads)
    cut_shard(Cut(seconds=1, rate=RATE), out / "wav", out / "cuts", threads)
    rendered = {row["piece"]: row["reason"] for row in read_csv(out / "wav/index.csv")}
    segments = list(kept_segments(out / "cuts"))
    found = {}
    for row in read_csv(out / "ingest.csv"):
        count = sum(segment["piece"] == row["piece"] for segment in segments)
        reason = row["reason"] or rendered[row["piece"]]
        found[row["path"]] = reason.partition(":")[0] or count
    return found, segments


def number(value):
    """A MIDI number of variable length."""
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


def smf(*events, ticks=480, tempo=500_000):
    """A file of (delta, message) in one track."""
    body = b"\0\xff\x51\x03" + tempo.to_bytes(3, "big")
    body += b"".join(number(delta) + message for delta, message in events)
    body += b"\0\xff\x2f\0"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, ticks)
    return header + b"MTrk" + struct.pack(">I", len(body)) + body


ON, OFF = b"\x90\x3c\x50", b"\x80\x3c\x00"
LONGEST = 2**28 - 1  # ticks that one number can say


def midi_cases(folder):
    sound = music.write_midi(folder / "sound.mid", [(0, 0, NOTES)]).read_bytes()
    music.write_midi(folder / "drums.mid", [(9, 0, NOTES)])
    music.write_midi(folder / "no-notes.mid", [(0, 0, [])])
    music.write_midi(folder / "ten-hours.mid", [(0, 0, [(0, 1, 60, 60), (72000, 1, 62, 60)])])
    cases = {
        "empty.mid": (b"", "empty_file"),
        "text.mid": (b"no music", "corrupt_midi"),
        "header-alone.mid": (sound[:14], "ends_early"),
        "truncated.mid": (sound[: len(sound) // 2], "ends_early"),
        "wave.mid": (b"RIFF\0\0\0\0WAVE", "corrupt_midi"),
        "never-ends.mid": (smf((0, ON)), "no_notes"),
        "no-length.mid": (smf((0, ON), (0, OFF)), "no_notes"),
        "velocity-0.mid": (smf((0, b"\x90\x3c\0"), (480, OFF)), "no_notes"),
        "too-large.mid": (sound[:14] + bytes(16 * 2**20), "too_large"),
        "tempo-0.mid": (smf((0, ON), (4800, OFF), tempo=0), 5),
        "tempo-fastest.mid": (smf((0, ON), (480, OFF), tempo=1), 0),
        "tempo-slowest.mid": (smf((0, ON), (480 * 120, OFF), tempo=2**24 - 1), "too_long"),
        "ticks-0.mid": (smf((0, ON), (480, OFF), ticks=0), "corrupt_midi"),
        "ticks-1.mid": (smf((0, ON), (10, OFF), ticks=1), 5),
        "ticks-32767.mid": (smf((0, ON), (327670, OFF), ticks=32767), 5),
        "smpte.mid": (smf((0, ON), (480, OFF), ticks=0xE728), "unsupported_midi"),
        "a-billion-ticks.mid": (smf((0, ON), *[(LONGEST, OFF), (0, ON)] * 4), "too_long"),
        "beyond-32-bits.mid": (smf((0, ON), *[(LONGEST, OFF), (0, ON)] * 20), "corrupt_midi"),
        "five-byte-number.mid": (
            smf((0, ON), (480, OFF), (480, ON), (480, OFF)).replace(
                b"\0\xff\x2f", b"\xff\xff\xff\xff\x7f\xff\x2f"
            ),
            "corrupt_midi",
        ),
        "a-late-note.mid": (smf((0, ON), (480, OFF), (480 * 2 * 1790, ON), (480, OFF)), 1),
    }
    for name, (data, _) in cases.items():
        (folder / name).write_bytes(data)
    expected = {"drums.mid": "only_drums", "no-notes.mid": "no_notes", "ten-hours.mid": "too_long"}
    return {"sound.mid": 6} | expected | {name: end for name, (_, end) in cases.items()}


@pytest.mark.slow
def test_odd_midi(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    expected = midi_cases(folder)
    found, _ = road(folder, tmp_path)
    counted = {
        name: n if isinstance(n, str) else min(n, expected[name]) for name, n in found.items()
    }
    assert counted == expected
    assert found["tempo-fastest.mid"] == 0, (
        "half a microsecond of music is kept, and cut to nothing"
    )


def crash():
    faulthandler.disable()  # this one is meant
    ctypes.string_at(0)


@pytest.mark.slow
def test_files_that_crash_their_readers(tmp_path, monkeypatch):
    """In ingest, in render and in the middle of a cut: a row each, and nothing half made stays."""
    folder = tmp_path / "music"
    for name, tempo in (("a", 400_000), ("b", 500_000), ("c", 600_000), ("d", 700_000)):
        notes = [(q, 1, 60 + q % 12, ord(name)) for q in range(12)]
        music.write_midi(folder / f"{name}.mid", [(0, 0, notes)], tempos=[(0, tempo)])
    poison = (folder / "b.mid").read_bytes()
    parse, render, rms = ingest.parse_midi, module.render_midi, cuts.int16_rms
    calls = []

    def cut(samples):
        calls.append(1)
        return rms(samples) if len(calls) % 4 else crash()

    monkeypatch.setattr(ingest, "parse_midi", lambda d: crash() if d == poison else parse(d))
    monkeypatch.setattr(
        module, "render_midi", lambda p, *rest: crash() if p.stem == "c" else render(p, *rest)
    )
    found, _ = road(folder, tmp_path, threads=1)
    assert found == {"a.mid": 5, "b.mid": "crashed", "c.mid": "crashed", "d.mid": 8}
    monkeypatch.setattr(cuts, "int16_rms", cut)
    settings = Cut(seconds=1, rate=RATE, write_audio=True)
    cut_shard(settings, tmp_path / "wav", tmp_path / "half", threads=1)
    rows = list(read_csv(tmp_path / "half/index.csv"))
    assert [row["reason"] for row in rows] == ["crashed: SIGSEGV"] * 2
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["index.csv"]


def sine(rate, channels, seconds=2.5):
    wave = LEVEL * np.sin(2 * np.pi * 200 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def test_odd_recordings(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    tone = sine(RATE, 1).astype(np.float32)
    broken = {"nan.wav": np.nan, "infinite.wav": np.inf, "minus-infinite.wav": -np.inf}
    for name, value in broken.items():
        wave = tone.copy()
        wave[-1] = value
        soundfile.write(folder / name, wave, RATE, "FLOAT")
    waves = {"nothing.wav": tone[:0], "silent.wav": 0 * tone, "short.wav": tone[: RATE // 10]}
    waves |= {"quiet.wav": 1e-3 * tone, "loud.wav": 100 * tone}
    for name, wave in waves.items():
        soundfile.write(folder / name, wave, RATE, "FLOAT")
    soundfile.write(folder / "whole.flac", music.tones(Random(1), 2.5, RATE, 2), RATE)
    whole = (folder / "whole.flac").read_bytes()
    sound = (folder / "loud.wav").read_bytes()
    data = {
        "empty.wav": b"",
        "text.wav": b"no music",
        "page.mp3": b"<!doctype html>" * 100,
        "midi.wav": smf((0, ON), (480, OFF)),
        "header-alone.wav": sound[:44],
        "truncated.flac": whole[: len(whole) // 2],
        "truncated.wav": sound[: len(sound) // 2],
        "four-gigabytes.wav": sound[:4] + b"\xff\xff\xff\xff" + sound[8:],
    }
    for name, content in data.items():
        (folder / name).write_bytes(content)
    found, _ = road(folder, tmp_path)
    assert found == {
        **dict.fromkeys(broken, "non_finite_samples"),
        **dict.fromkeys(
            ["text.wav", "page.mp3", "midi.wav", "header-alone.wav"],
            "corrupt_audio",
        ),
        **dict.fromkeys(["truncated.flac", "truncated.wav"], "ends_early"),
        "empty.wav": "empty_file",
        "nothing.wav": "no_samples",
        "silent.wav": "silent",
        "short.wav": 0,
        "quiet.wav": 0,
        "loud.wav": 2,
        "whole.flac": 2,
        "four-gigabytes.wav": 2,
    }


RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000)
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


@pytest.mark.slow
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_channels_rates_and_widths(tmp_path, subtype):
    """Each arrives at the cut with the level that it was recorded with; none goes up in rate."""
    folder = tmp_path / "music"
    folder.mkdir()
    cases = [(rate, 2) for rate in RATES] + [(48000, channels) for channels in range(1, 9)]
    for rate, channels in cases:
        path = folder / f"{rate}-{channels}.wav"
        soundfile.write(path, sine(rate, channels), rate, subtype)
    found, segments = road(folder, tmp_path)
    assert found == {f"{rate}-{channels}.wav": 2 if rate >= RATE else 0 for rate, channels in cases}
    reasons = [row["reason"] for row in read_csv(tmp_path / "cuts/index.csv") if row["reason"]]
    assert reasons.count("rate_too_low") == sum(rate < RATE for rate, _ in cases)
    expected = LEVEL / 2**0.5 * 32768
    for row in segments:
        assert float(row["rms"]) == pytest.approx(expected, rel=0.02), row
