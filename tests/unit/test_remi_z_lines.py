"""REMI-z as JSON lines: bars, phrases and positions, out and in, in a run and by command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused

from etude.__main__ import main
from etude.config import Filter, FolderCorpus, OnOff, RemiZ, SymbolicTokenSet
from etude.corpus.ingest import ingest_shard
from etude.midi.notes import read_midi
from etude.tokenizers.symbolic import factory
from etude.tokenizers.symbolic.remi_z_lines import LEVELS
from etude.tokenizers.symbolic.tokenize import write_events
from tests import music
from tests.unit.test_remi_z import ID, OPTIONS, PLAIN, ids_of, made, songs, table

level = pytest.mark.parametrize("level", LEVELS)


def lines_of(text, level):
    return [json.loads(line) for line in PLAIN.to_lines(ids_of(text), level)]


def test_the_levels_by_hand():
    text = "s-4/4 u-24 i-5 o-24 p-64 d-24 o-36 p-62 d-1 i-0 b-1 s-3/4 i-5 i-0 o-0 p-48 d-12 b-1"
    one, other = lines_of(text, "bar")
    assert one == {"bar": 0, "tokens": text.split()[: text.split().index("b-1") + 1]}
    assert other["tokens"][0] == "s-3/4"
    first = {"bar": 0, "signature": "4/4", "start": 24, "slot": 0, "instrument": 5}
    phrases = lines_of(text, "phrase")
    assert phrases[0] == first | {"tokens": ["o-24", "p-64", "d-24", "o-36", "p-62", "d-1"]}
    assert [(row["bar"], row["slot"], len(row["tokens"])) for row in phrases[1:]] == [
        (0, 1, 0), (1, 0, 0), (1, 1, 3),
    ]  # fmt: skip
    positions = lines_of(text, "position")
    assert positions[0] == first | {"position": 24, "tokens": ["p-64", "d-24"]}
    assert [row["position"] for row in positions] == [24, 36, None, None, 0]


@pytest.mark.slow
@level
@given(song=songs(), options=OPTIONS)
@settings(max_examples=30)
def test_every_level_comes_back(level, song, options):
    tokenizer = made(**options)
    ids = tokenizer.encode(song)
    assert tokenizer.from_lines(tokenizer.to_lines(ids, level), "") == ids


@given(st.lists(st.integers(0, PLAIN.vocabulary - 1), max_size=60))
@settings(max_examples=50)
def test_any_ids_have_lines(ids):
    """Their notes come back, whatever they are."""
    wanted = PLAIN.decode(ids)
    for level in LEVELS:
        back = PLAIN.decode(PLAIN.from_lines(PLAIN.to_lines(ids, level), ""))
        assert (back.onset.tolist(), back.pitch.tolist()) == (
            wanted.onset.tolist(),
            wanted.pitch.tolist(),
        )


def test_silence_has_lines():
    silent = table([(0, 0, 200, 12, 60)])
    ids = PLAIN.encode(silent)
    for level in LEVELS:
        assert len({json.loads(line)["bar"] for line in PLAIN.to_lines(ids, level)}) == 5
        assert PLAIN.from_lines(PLAIN.to_lines(ids, level), "") == ids
    assert PLAIN.from_lines(["", "\n"], "") == []


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "[1]",
        "{}",
        '{"bar": 0, "tokens": ["p-200"]}',
        '{"bar": 0, "tokens": 3}',
        '{"bar": 0, "slot": 0, "signature": "4/5", "instrument": 0, "tokens": []}',
        '{"bar": 0, "slot": 0, "signature": "4/4", "tokens": []}',
        '{"bar": 0, "slot": 0, "signature": "4/4", "instrument": 999, "tokens": []}',
    ],
)
def test_a_line_that_is_none_is_said(line):
    good = '{"bar": 0, "tokens": ["s-4/4", "b-1"]}'
    with refused("not-remi-z", where="song.jsonl, line 2"):
        PLAIN.from_lines([good, line], "song.jsonl")


@pytest.fixture
def folder(tmp_path):
    factory.make_tokenizer(RemiZ(kind="remi_z"), Filter(), None, [], None, tmp_path / "remi_z")
    return tmp_path / "remi_z"


@level
def test_the_command_goes_there_and_back(level, folder, tmp_path, capsys):
    four = [(0, 0, [(q, 1, 72 - 5 * v + q % 3, 64) for q in range(16)]) for v in range(4)]
    music.write_midi(tmp_path / "song.mid", four)
    common = ["--tokenizer", str(folder), "--level", level, "--output"]
    assert not main(["tokens", str(tmp_path / "song.mid"), *common, str(tmp_path / "a.jsonl")])
    assert "64 notes, 64 kept (100.00 %)" in capsys.readouterr().out
    assert not main(["tokens", str(tmp_path / "a.jsonl"), *common, str(tmp_path / "b.mid")])
    one, other = read_midi(tmp_path / "song.mid"), read_midi(tmp_path / "b.mid")
    scale = one.ticks_per_quarter // other.ticks_per_quarter
    assert (one.onset == other.onset * scale).all()
    assert (one.pitch == other.pitch).all()
    assert len(np.unique(other.track)) == 4


def test_the_command_says_what_is_wrong(folder, tmp_path, capsys):
    (tmp_path / "bad.mid").write_bytes(b"hello")
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\xff")
    common = ["--tokenizer", str(folder), "--output", str(tmp_path / "out")]
    for name in ("bad.mid", "bad.jsonl", "none.mid"):
        assert main(["tokens", str(tmp_path / name), *common]) == 1
        assert name in capsys.readouterr().err
    onoff = tmp_path / "onoff"
    factory.make_tokenizer(OnOff(kind="onoff"), Filter(), None, [], None, onoff)
    assert main(["tokens", str(tmp_path / "bad.mid"), "--tokenizer", str(onoff), *common[2:]]) == 1
    assert "corrupt_midi" in capsys.readouterr().err


def test_a_run_writes_each_level_of_each_piece(folder, tmp_path):
    root = tmp_path / "music"
    music.write_midi(root / "song.mid", [(0, 0, [(q, 1, 60 + q, 64) for q in range(8)])])
    settings = FolderCorpus(source="folder", path=root, shards=1)
    ingest_shard(settings, root, 0, tmp_path / "ingest.csv", 1)
    write_events(
        SymbolicTokenSet(tokenizer="remi_z", write_events=True), Filter(), folder,
        tmp_path / "ingest.csv", root, tmp_path / "events", 1,
    )  # fmt: skip
    written = sorted(p.name.partition(".")[2] for p in (tmp_path / "events").glob("*.jsonl"))
    assert written == ["bar.jsonl", "phrase.jsonl", "position.jsonl"]
    (path,) = (tmp_path / "events").glob("*.phrase.jsonl")
    ids = PLAIN.from_lines(path.read_text().splitlines(), path.name)
    assert PLAIN.notes_in(ids) == 8
    assert ids.count(ID["b-1"]) == 2
