"""Cuts: every second of a piece is in a row, with the reason where it is not kept."""

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import unusable

from etude.audio.cuts import COLUMNS, cut_piece, cut_shard, kept_segments, read_segments
from etude.audio.files import read_audio, write_wav
from etude.config import Cut
from etude.storage import write_csv

RATE = 8000


def level(seconds, value, rate=RATE):
    """A slow square wave of a given int16 RMS."""
    return (value / 32768 * np.resize([1] * 50 + [-1] * 50, round(seconds * rate))).astype(
        np.float32
    )


def shard(folder, pieces, rejected=()):
    """A folder of piece WAVs as rendering leaves it: {name: (samples, rate)}."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (samples, rate) in pieces.items():
        write_wav(folder / f"{name}.wav", samples, rate)
    rows = [{"piece": p, "file": f"{p}.wav", "status": "kept"} for p in pieces]
    rows += [{"piece": p, "status": "rejected", "reason": "corrupt_midi: x"} for p in rejected]
    write_csv(folder / "index.csv", ["piece", "file", "status", "reason"], rows)
    return folder


def rows_of(folder):
    with (folder / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def brief(rows):
    return [(r["segment"], r["start_s"], r["seconds"], r["last"], r["reason"]) for r in rows]


def test_rows_of_a_hand_made_piece(tmp_path):
    samples = np.concatenate([level(2, 1000), level(2, 12), level(2, 100), level(1.5, 5000)])
    wav = shard(tmp_path / "wav", {"a": (samples, RATE)})
    cut_shard(Cut(rate=RATE), wav, tmp_path / "cut", threads=1)
    rows = rows_of(tmp_path / "cut")
    assert list(rows[0]) == COLUMNS
    assert brief(rows) == [
        ("a_00000", "0.0", "2.0", "false", ""),
        ("a_00001", "2.0", "2.0", "false", "blank_segment:rms=12"),
        ("a_00002", "4.0", "2.0", "true", ""),  # the threshold itself is loud enough
        ("a_00003", "6.0", "1.5", "false", "too_short"),
    ]
    assert [r["rms"] for r in rows] == ["1000.00", "12.00", "100.00", ""]
    assert rows[2]["rms_dbfs"] == "-50.31"
    assert [r["status"] for r in rows] == ["kept", "rejected", "kept", "rejected"]


def test_silence_has_a_value(tmp_path):
    wav = shard(tmp_path / "wav", {"a": (np.zeros(4 * RATE), RATE)})
    rows = cut_piece(Cut(rate=RATE), wav, "a")
    assert [r["reason"] for r in rows] == ["blank_segment:rms=0"] * 2
    assert rows[0]["rms_dbfs"] == "-inf"
    assert not any(r["last"] == "true" for r in rows)
    loud = cut_piece(Cut(rate=RATE, rms_threshold=0), wav, "a")
    assert [r["status"] for r in loud] == ["kept"] * 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.99, [("a_00000", 0.0, "too_short")]),
        (2.0, [("a_00000", 0.0, "")]),
        (2.5, [("a_00000", 0.0, ""), ("a_00001", 0.5, "")]),
        (2.6, [("a_00000", 0.0, ""), ("a_00001", 0.5, ""), ("a_00002", 1.0, "too_short")]),
    ],
)
def test_overlap(tmp_path, seconds, expected):
    wav = shard(tmp_path / "wav", {"a": (level(seconds, 500), RATE)})
    rows = cut_piece(Cut(rate=RATE, hop=0.5), wav, "a")
    assert [(r["segment"], r["start_s"], r["reason"]) for r in rows] == expected


def test_last_is_the_last_that_is_kept(tmp_path):
    samples = np.concatenate([level(4, 500), level(2.5, 3)])
    wav = shard(tmp_path / "wav", {"a": (samples, RATE)})
    rows = cut_piece(Cut(rate=RATE), wav, "a")
    assert [r["last"] for r in rows] == ["false", "true", "false", "false"]


def test_rates_channels_and_order(tmp_path):
    pieces = {
        "zeta": (np.stack([level(4, 500, 44100)] * 2), 44100),
        "low": (level(4, 500, 4000), 4000),
        "alpha": (level(2, 500), RATE),
        "empty": (np.zeros(0), RATE),
    }
    wav = shard(tmp_path / "wav", pieces, rejected=["gone"])
    for threads in (1, 3):
        folder = tmp_path / f"cut{threads}"
        cut_shard(Cut(rate=RATE, rms_threshold=0), wav, folder, threads)
        assert [(r["segment"], r["reason"]) for r in rows_of(folder)] == [
            ("zeta_00000", ""),
            ("zeta_00001", ""),
            ("low_00000", "rate_too_low"),
            ("alpha_00000", ""),
            ("empty_00000", "too_short"),
        ]
    one, three = ((tmp_path / f"cut{n}" / "index.csv").read_bytes() for n in (1, 3))
    assert one == three


def test_what_cannot_be_read_is_a_row(tmp_path):
    wav = shard(tmp_path / "wav", {"a": (level(2, 500), RATE)})
    soundfile.write(wav / "nan.wav", np.full(3 * RATE, np.nan), RATE, "FLOAT")
    (wav / "bad.wav").write_bytes(b"RIFF")
    reasons = [cut_piece(Cut(rate=RATE), wav, p)[0]["reason"] for p in ("nan", "bad", "none")]
    assert reasons[0] == "non_finite_samples"
    assert reasons[1].startswith("corrupt_audio")
    assert reasons[2].startswith("unreadable")


def test_empty_shard(tmp_path):
    wav = shard(tmp_path / "wav", {})
    cut_shard(Cut(), wav, tmp_path / "cut", threads=2)
    assert (tmp_path / "cut" / "index.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert not list(kept_segments(tmp_path / "cut"))


def test_audio_is_written_for_kept_segments(tmp_path):
    samples = np.concatenate([level(2, 500, 16000), level(2, 1, 16000), level(3, 900, 16000)])
    wav = shard(tmp_path / "wav", {"a": (samples, 16000)})
    for folder in ("one", "two"):
        cut_shard(Cut(rate=RATE, write_audio=True, rms_threshold=5), wav, tmp_path / folder, 1)
    names = ["a_00000.wav", "a_00002.wav", "index.csv"]
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    written = soundfile.SoundFile(tmp_path / "one" / "a_00002.wav")
    assert (written.samplerate, written.channels, written.frames) == (RATE, 1, 2 * RATE)
    assert written.subtype == "PCM_16"


def test_segments_are_read_at_any_lower_rate(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 44100 * 5))
    wav = shard(tmp_path / "wav", {"a": (noise, 44100), "b": (noise[:, ::-1], 44100)})
    cut_shard(Cut(rate=24000, hop=1.5), wav, tmp_path / "cut", 1)
    rows = list(kept_segments(tmp_path / "cut"))
    assert [r["segment"] for r in rows] == ["a_00000", "a_00001", "a_00002", "b_00000", "b_00001",
                                            "b_00002"]  # fmt: skip
    for rate in (24000, 16000, 44100):
        waves = read_segments(wav, rows, rate)
        assert waves.shape == (6, 2 * rate)
        assert waves.dtype == np.float32
        whole = read_audio(wav / "b.wav", rate)
        np.testing.assert_allclose(waves[4], whole[int(1.5 * rate) :][: 2 * rate], atol=1e-6)
    with unusable("rate_too_low"):
        read_segments(wav, rows, 48000)
    assert read_segments(wav, [], 24000).size == 0


def test_wav_that_was_replaced_by_a_shorter_one(tmp_path):
    wav = shard(tmp_path / "wav", {"a": (level(4, 500), RATE)})
    cut_shard(Cut(rate=RATE), wav, tmp_path / "cut", 1)
    shard(tmp_path / "wav", {"a": (level(3, 500), RATE)})
    with unusable("ends_early"):
        read_segments(wav, kept_segments(tmp_path / "cut"), RATE)


@pytest.mark.slow
def test_long_pieces_need_no_memory(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 4000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(np.full(60 * 4000, 0.1))  # an hour: 58 MB as float32
    tracemalloc.start()
    rows = cut_piece(Cut(rate=4000), tmp_path, "long")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 1800
    assert peak < 3_000_000


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(0, 3000),
    seconds=st.floats(0.05, 1.5),
    hop=st.floats(0.05, 1.5),
    rates=st.sampled_from([(1000, 1000), (1500, 1000), (4000, 1000), (1000, 2000)]),
    seed=st.integers(0, 5),
)
def test_rows_account_for_the_piece(tmp_path_factory, frames, seconds, hop, rates, seed):
    native, rate = rates
    cut = Cut.model_construct(
        seconds=seconds, hop=hop, rate=rate, rms_threshold=3000.0, write_audio=False
    )
    folder: Path = tmp_path_factory.mktemp("piece")
    noise = np.random.default_rng(seed).uniform(-0.2, 0.2, frames)
    write_wav(folder / "p.wav", noise, native)
    rows = cut_piece(cut, folder, "p")
    assert [r["segment"] for r in rows] == [f"p_{i:05d}" for i in range(len(rows))]
    if rate > native:
        assert [r["reason"] for r in rows] == ["rate_too_low"]
        return
    total = frames * rate // native / rate
    full = [r for r in rows if r["reason"] != "too_short"]
    assert [r["start_s"] for r in rows] == [round(i * hop, 6) for i in range(len(rows))]
    assert all(r["start_s"] + r["seconds"] <= total + 1.5 / rate for r in full)
    assert all(r["reason"] == "too_short" for r in rows[len(full) :])
    assert len(rows) - len(full) <= 1
    if hop <= seconds:  # nothing is lost between segments or at the end
        assert rows[-1]["start_s"] + rows[-1]["seconds"] >= total - 1.5 / rate
    kept = [r for r in rows if r["status"] == "kept"]
    assert [r["last"] for r in kept] == ["false"] * (len(kept) - 1) + ["true"] * bool(kept)
    if kept:
        texts = [{k: str(v) for k, v in r.items()} for r in kept]
        assert read_segments(folder, texts, rate).shape == (len(kept), round(seconds * rate))
