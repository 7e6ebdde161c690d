"""From a table of pieces to packed symbolic tokens: windows, rows with reasons, the gate."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from random import Random

import datasets
import pytest
from refused import invalid, refused

from etude.config import (
    Filter,
    FolderCorpus,
    OnOff,
    PluginTokenizer,
    Remi,
    SymbolicTokenSet,
    load_config,
)
from etude.corpus.ingest import ingest_shard
from etude.storage import read_csv, read_json, write_csv, write_text
from etude.tokenizers.fit import import_tokenizer
from etude.tokenizers.symbolic import factory, tokenize
from etude.tokenizers.symbolic.pack import pack_symbolic
from etude.tokenizers.symbolic.summary import summarise
from etude.tokenizers.symbolic.tokenize import tokenize_shard, write_events
from etude.tokenizers.symbolic.windows import window_spans
from tests import music

SET = SymbolicTokenSet(tokenizer="onoff", window=64, stride=32, shortest=48, fewest=8)
SIDES = ["train", "train", "valid", "test"]


def sets(**options):
    return SymbolicTokenSet(**{"tokenizer": "onoff"} | options)


# ----------------------------------------------------------------------------------------- windows


def test_windows_are_the_seeds():
    settings = sets(short_pieces="drop")  # 1024, 512, 796
    assert window_spans(1023, settings) == []
    assert window_spans(1024, settings) == [(0, 1024)]
    assert window_spans(1307, settings) == [(0, 1024)]  # 795 remain after 512
    assert window_spans(1308, settings) == [(0, 1024), (284, 1308)]
    assert window_spans(1536, settings) == [(0, 1024), (512, 1536)]
    assert window_spans(1820, settings)[-1] == (796, 1820)


def test_a_short_piece_is_a_window_of_its_own():
    assert window_spans(100, sets()) == [(0, 100)]
    assert window_spans(15, sets()) == []
    assert window_spans(0, sets()) == []


def test_neuromusics_way_is_the_first_window_alone():
    settings = sets(window=1025, first_window_only=True)
    assert window_spans(5000, settings) == [(0, 1025)]
    assert window_spans(500, settings) == [(0, 500)]


def test_windows_cover_a_piece_but_for_a_rest_that_is_too_short():
    for length in range(64, 400):
        spans = window_spans(length, SET)
        assert all(stop - start == 64 for start, stop in spans)
        assert len(set(spans)) == len(spans)
        assert length - spans[-1][1] < 48 - 32 or spans[-1][1] == length


# ------------------------------------------------------------------------------------------ shards


@pytest.fixture
def corpus(tmp_path):
    """Four songs, and what cannot be used; made once a test, since tests spoil it."""
    root = tmp_path / "music"
    for i in range(4):
        music.chorale(root / f"song-{i}.mid", Random(i), quarters=24)
    music.write_midi(root / "drums.mid", [(9, 0, [(0, 1, 36, 90)])])
    music.write_midi(root / "empty.mid", [])
    music.write_midi(root / "low.mid", [(0, 0, [(q, 1, 10, 80) for q in range(20)])])
    music.write_midi(root / "short.mid", [(0, 0, [(0, 1, 60, 80)])])
    (root / "broken.mid").write_bytes(b"MThd nothing")
    music.recording(root / "take.wav", Random(1), rate=8000, channels=1)
    return tmp_path


def ingested(folder, shards=1):
    settings = FolderCorpus(source="folder", path=folder / "music", shards=shards)
    tables = [folder / f"ingest-{i}.csv" for i in range(shards)]
    for i, table in enumerate(tables):
        ingest_shard(settings, folder / "music", i, table, 1)
    return tables


def made(folder, settings=None):
    settings = settings or OnOff(kind="onoff")
    target = folder / "tokenizer"
    factory.make_tokenizer(settings, Filter(), None, [], None, target)
    tokenize.loaded.cache_clear()
    return target


def tokenized(folder, tables, settings=SET, tokenizer=None, threads=1):
    tokenizer = tokenizer or made(folder)
    files = []
    for i, table in enumerate(tables):
        out = [folder / f"{len(tables)}-{i}.{end}" for end in ("jsonl", "csv", "stats.csv")]
        tokenize_shard(
            settings, Filter(), tokenizer, table, folder / "music", *out, threads=threads
        )
        files.append(out)
    return files


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pieces_csv(folder, tables, sides=SIDES):
    rows = [row for table in tables for row in read_csv(table)]
    rows.sort(key=lambda row: row["piece"])
    songs = iter(sides)
    for i, row in enumerate(rows):
        kept = row["status"] == "kept"
        row["split"] = (next(songs) if "song" in row["piece"] else "train") if kept else ""
        row["tune_group"] = str(i) if kept else ""
    return write_csv(folder / "pieces.csv", list(rows[0]), rows) and folder / "pieces.csv"


@pytest.mark.slow
def test_every_kept_piece_is_a_row_with_what_became_of_it(corpus, tmp_path):
    ((tokens, table, statistics),) = tokenized(corpus, ingested(corpus))
    rows = {row["piece"].rpartition("-")[0]: row for row in read_csv(table)}
    assert rows.keys() == {*(f"song-{i}" for i in range(4)), "low", "short", "take"}
    reasons = {name: row["reason"] for name, row in rows.items()}
    assert reasons["low"] == "no_notes"  # all below the piano
    assert reasons["short"] == "too_short: 2 tokens"
    assert reasons["take"] == "not_midi"
    assert rows["low"]["lost_out_of_range"] == "20"
    song = rows["song-0"]
    assert (song["status"], song["reason"]) == ("kept", "")
    written = [row for row in lines(tokens) if row["piece"] == song["piece"]]
    assert len(written) == int(song["windows"])
    assert {row["transpose"] for row in written} == {0, -1, 1}
    assert {len(row["input_ids"]) for row in written} == {64}
    assert sum(int(r["count"]) for r in read_csv(statistics) if r["statistic"] == "pitch") > 100
    summarise([table], [statistics], "mine, onoff", tmp_path / "summary")
    totals = {r["count"]: int(r["total"]) for r in read_csv(tmp_path / "summary" / "totals.csv")}
    assert totals["pieces_kept"] == 4
    assert totals["pieces_no_notes"] == totals["pieces_too_short"] == totals["pieces_not_midi"] == 1
    assert totals["windows"] == len(lines(tokens))
    names = {path.name for path in (tmp_path / "summary").iterdir()}
    assert names >= {"pieces.csv", "statistics.csv", "pitch.svg", "velocity.svg", "chord.svg"}


@pytest.mark.slow
def test_threads_and_a_worker_that_dies_change_nothing_else(corpus, monkeypatch):
    tables, tokenizer = ingested(corpus), made(corpus)
    ((one, *_),) = tokenized(corpus, tables, tokenizer=tokenizer)
    alone = one.read_bytes()
    ((two, *_),) = tokenized(corpus, tables, tokenizer=tokenizer, threads=2)
    assert two.read_bytes() == alone
    monkeypatch.setattr(tokenize, "_with_windows", partial(_dying, tokenize._with_windows))
    ((tokens, table, _),) = tokenized(corpus, tables, tokenizer=tokenizer)
    fallen = {r["piece"]: r for r in read_csv(table) if r["reason"].startswith("crashed")}
    assert len(fallen) == 1
    assert lines(tokens) == [
        json.loads(line) for line in alone.splitlines() if json.loads(line)["piece"] not in fallen
    ]


def _dying(function, settings, tokenizer, piece, *rest):
    if piece.startswith("song-2"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return function(settings, tokenizer, piece, *rest)


def test_bos_and_eos_stand_at_the_ends_of_a_piece(corpus):
    tokenizer = made(corpus, Remi(kind="remi"))
    tables = ingested(corpus)
    whole = SET.model_copy(update={"window": 4096, "stride": 4096, "transpositions": [0]})
    ((tokens, *_),) = tokenized(corpus, tables, whole, tokenizer)
    for row in lines(tokens):
        assert (row["input_ids"][0], row["input_ids"][-1]) == (1, 2)
    bare = whole.model_copy(update={"ends": False})
    ((tokens, *_),) = tokenized(corpus, tables, bare, tokenizer)
    assert all(1 not in row["input_ids"] for row in lines(tokens))


def test_the_seeds_windows_are_whole_and_untransposed(corpus):
    tokenizer = made(corpus, OnOff(kind="onoff", compat="we_sharp"))
    ((tokens, table, _),) = tokenized(corpus, ingested(corpus), SET, tokenizer)
    assert {row["transpose"] for row in lines(tokens)} == {0}
    assert {len(row["input_ids"]) for row in lines(tokens)} == {64}
    assert all(int(r["windows_made"]) >= 3 * int(r["windows"]) for r in read_csv(table) if
               r["status"] == "kept")  # fmt: skip


def test_files_of_each_step_are_written_where_they_are_wanted(corpus):
    write_events(SET, Filter(), made(corpus), ingested(corpus)[0], corpus / "music",
                 corpus / "events", 1)  # fmt: skip
    names = {path.name for path in (corpus / "events").iterdir()}
    piece = next(n for n in names if n.startswith("song-0")).split(".")[0]
    endings = ("events.txt", "sorted.txt", "durations.csv", "cleaned.txt", "deleted.txt",
               "chords.csv", "tokens.txt")  # fmt: skip
    assert {f"{piece}.{ending}" for ending in endings} <= names
    assert "index.csv" in names


# --------------------------------------------------------------------------------- packing, the gate


def packed(folder, files, pieces, name="packed", settings=SET):
    target = folder / name
    pack_symbolic(settings, [f[0] for f in files], pieces, folder / "tokenizer", target)
    return target


@pytest.mark.slow
def test_packed_data_are_split_ordered_and_the_same_for_any_shards(corpus):
    one = ingested(corpus)
    files = tokenized(corpus, one)
    folder = packed(corpus, files, pieces_csv(corpus, one))
    info = read_json(folder / "info.json")
    assert info["kind"] == "symbolic"
    assert (info["vocabulary"], info["pad"], info["bos"], info["eos"]) == (4050, 4049, None, None)
    assert (info["window"], info["tokenizer"], info["unknown"]) == (64, "onoff", 4048)
    split = {s: datasets.load_from_disk(str(folder / s)) for s in ("train", "valid", "test")}
    assert split["train"].column_names == ["piece", "window", "transpose", "input_ids"]
    assert set(split["train"]["transpose"]) == {0, -1, 1}  # augmentation reaches training
    assert set(split["valid"]["transpose"]) == set(split["test"]["transpose"]) == {0}
    held = [set(split[s]["piece"]) for s in split]
    assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]
    train = [*zip(split["train"]["piece"], split["train"]["transpose"], split["train"]["window"],
                  strict=True)]  # fmt: skip
    assert train == sorted(train, key=lambda r: (r[0], [0, -1, 1].index(r[1]), r[2]))
    assert info["splits"]["train"]["tokens"] == sum(map(len, split["train"]["input_ids"]))
    by_row = {(r["piece"], r["transpose"], r["window"]): r["input_ids"] for r in lines(files[0][0])}
    assert all(by_row[key] == ids for key, ids in zip(train, split["train"]["input_ids"],
                                                     strict=True))  # fmt: skip
    three = ingested(corpus, shards=3)
    other = packed(corpus, tokenized(corpus, three), pieces_csv(corpus, three), "other")
    assert read_json(other / "info.json") == info
    for split_name in split:
        a, b = (
            (p / split_name / "data-00000-of-00001.arrow").read_bytes() for p in (folder, other)
        )
        assert a == b


def test_nothing_crosses_and_what_does_not_fit_is_said(corpus):
    tables = ingested(corpus)
    files = tokenized(corpus, tables)
    pieces = pieces_csv(corpus, tables)
    rows = list(read_csv(pieces))
    songs = [row for row in rows if row["piece"].startswith("song")]
    songs[0]["tune_group"] = songs[3]["tune_group"]  # train and test
    write_csv(corpus / "leak.csv", list(rows[0]), rows)
    with refused("leaking-split"):
        packed(corpus, files, corpus / "leak.csv")
    none = pieces_csv(corpus, tables, ["valid", "valid", "valid", "test"])
    with refused("nothing-to-train-on"):
        packed(corpus, files, none)
    pieces = pieces_csv(corpus, tables)
    with refused("tokenized-twice"):
        packed(corpus, [files[0], files[0]], pieces)
    text = files[0][0].read_text()
    write_text(files[0][0], text.replace('"input_ids":[', '"input_ids":[4050,', 1))
    with refused("tokens-do-not-fit"):
        packed(corpus, files, pieces)
    write_text(files[0][0], text.replace("song-0", "song-9"))
    with refused("pieces-not-in-table"):
        packed(corpus, files, pieces)
    write_text(files[0][0], "")
    with refused("no-tokens"):
        packed(corpus, files, pieces)


# ------------------------------------------------------------------------ made, taught, taken over


def test_byte_pairs_are_learnt_from_the_training_split_alone(corpus, monkeypatch):
    tables = ingested(corpus)
    pieces = pieces_csv(corpus, tables)
    seen = []

    def remember(self, given):
        seen.extend(len(table) for table in given)
        return self

    monkeypatch.setattr("etude.tokenizers.symbolic.midi_tok.MidiTokTokenizer.learn", remember)
    settings = Remi(kind="remi", bpe=400)
    target = corpus / "learnt"
    factory.make_tokenizer(settings, Filter(), corpus / "music", tables, pieces, target)
    train = {r["piece"] for r in read_csv(pieces) if r["split"] == "train" and r["kind"] == "midi"}
    assert len(seen) == len(train) == 4  # two songs, the low and the short one
    few = list(factory.training_tables(Filter(), corpus / "music", tables, pieces, 2, 0))
    assert len(few) == 2
    write_csv(corpus / "none.csv", ["piece", "split"], [])
    with refused("nothing-to-fit-on"):
        list(factory.training_tables(Filter(), corpus, tables, corpus / "none.csv", 2, 0))


def test_a_tokenizer_made_elsewhere_is_taken_over(tmp_path):
    folder = made(tmp_path)
    files = sorted(folder.iterdir())
    import_tokenizer(OnOff(kind="onoff"), files, tmp_path / "taken")
    assert factory.load_symbolic_tokenizer(tmp_path / "taken").vocabulary == 4050
    with refused("fitted-with-other-settings"):
        import_tokenizer(OnOff(kind="onoff", drop_chords=True), files, tmp_path / "taken")
    config = read_json(folder / "config.json")
    write_text(folder / "config.json", json.dumps(config | {"version": 99}))
    with refused("another-version"):
        factory.load_symbolic_tokenizer(folder)
    with refused("not-fitted-yet"):
        factory.load_symbolic_tokenizer(tmp_path / "nowhere")


OWN = '''
"""Pitches only: an id for each of 128."""

import numpy as np

from etude.midi.writing import plain_table


class Pitches:
    def __init__(self, step=120):
        self.step, self.vocabulary, self.pad, self.state = step, 129, 128, None

    def fit(self, tables):
        self.state = {"pieces": sum(1 for _ in tables)}

    def encode(self, table):
        return table.pitch.tolist()

    def decode(self, ids):
        onset = np.arange(len(ids)) * self.step
        return plain_table(onset, np.full(len(ids), self.step), np.array(ids))


class Wrong(Pitches):
    def encode(self, table):
        return [999]
'''


def test_a_tokenizer_of_ones_own(corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    Path("pitches_only.py").write_text(OWN)
    settings = PluginTokenizer(kind="pitches_only:Pitches", options={"step": 60})
    tables = ingested(corpus)
    pieces = pieces_csv(corpus, tables)
    factory.make_tokenizer(settings, Filter(), corpus / "music", tables, pieces, corpus / "own")
    loaded = factory.load_symbolic_tokenizer(corpus / "own")
    assert loaded.own.state == {"pieces": 4}
    assert loaded.own.step == 60
    assert loaded.decode(loaded.encode(loaded.decode([60, 62]))).pitch.tolist() == [60, 62]
    assert loaded.invalid_share([60, 128]) == 0.5
    assert loaded.grammar().allowed(loaded.grammar().start(3)).shape == (3, 129)
    ((tokens, *_),) = tokenized(corpus, tables, tokenizer=corpus / "own")
    assert lines(tokens)
    wrong = PluginTokenizer(kind="pitches_only:Wrong")
    factory.make_tokenizer(wrong, Filter(), None, [], None, corpus / "wrong")
    with refused("token-out-of-range"):
        tokenized(corpus, tables, tokenizer=corpus / "wrong")
    Path("half.py").write_text("class Half:\n    def encode(self, table): return []\n")
    with refused("plugin-attribute-missing", "'decode'"):
        factory.create_symbolic_tokenizer(PluginTokenizer(kind="half:Half"))


# ----------------------------------------------------------------------------------- configuration


def config(**changes):
    raw = {
        "run": ["a"],
        "corpora": {"m": {"source": "music21"}},
        "cuts": {"two_seconds": {}},
        "tokenizers": {
            "bands": {"kind": "semitone_bands"},
            "magnitude": {"kind": "magnitude_rvq"},
            "onoff": {"kind": "onoff"},
        },
        "tokens": {
            "embedded": {"cut": "two_seconds", "semantic": "bands", "acoustic": "magnitude"},
            "symbolic": {"tokenizer": "onoff"},
        },
        "experiments": {"a": {"system": "audiolm", "corpus": "m"}},
    }
    for section, entries in changes.items():
        raw[section] = raw[section] | entries
    return load_config(raw)


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        (
            {"tokens": {"s": {"tokenizer": "onof"}}},
            ("s.tokenizer", "unknown-name", "did you mean 'onoff'"),
        ),
        (
            {"tokens": {"s": {"tokenizer": "bands"}}},
            ("s.tokenizer", "tokenizer-of-another-kind", "'bands'"),
        ),
        (
            {"tokens": {"s": {"tokenizer": "onoff", "strid": 1}}},
            ("s.strid", "extra_forbidden", "did you mean 'stride'"),
        ),
        (
            {"tokens": {"s": {"tokenizer": "onoff", "stride": 2000}}},
            ("s.stride", "gaps-between-windows", 2000),
        ),
        (
            {"tokens": {"s": {"tokenizer": "onoff", "shortest": 2000}}},
            ("s.shortest", "longer-than-a-window", 2000),
        ),
        (
            {"tokens": {"s": {"tokenizer": "onoff", "transpositions": [1]}}},
            ("s.transpositions", "no-transposition-0"),
        ),
        (
            {"tokens": {"s": {"tokenizer": "onoff", "transpositions": [0, 0]}}},
            ("s.transpositions", "named-twice", 0),
        ),
        (
            {"tokenizers": {"r": {"kind": "rmi"}}},
            ("tokenizers.r", "union_tag_invalid", "did you mean 'remi'"),
        ),
        (
            {"tokenizers": {"r": {"kind": "remi", "lowest_pitch": 99, "highest_pitch": 9}}},
            ("r.lowest_pitch", "pitches-out-of-order", 99),
        ),
        (
            {"tokenizers": {"r": {"kind": "remi", "fit": {"corpus": "n"}}}},
            ("r.fit.corpus", "unknown-name", "`corpora`"),
        ),
        (
            {
                "tokenizers": {"r": {"kind": "remi"}},
                "tokens": {"s": {"tokenizer": "r", "write_events": True}},
            },
            ("s.write_events", "no-events", "onoff", "remi_z"),
        ),
    ],
)
def test_what_is_wrong_in_the_configuration_is_said(changes, mistake):
    with invalid(*mistake):
        config(**changes)


def test_which_tokenizers_are_symbolic():
    settings = config(tokenizers={"remi": {"kind": "remi", "bpe": 400}})
    assert [n for n in settings.tokenizers if settings.is_symbolic(n)] == ["onoff", "remi"]
    assert settings.audio_tokens("embedded").cut == "two_seconds"
    with refused("token-set-not-of-audio"):
        settings.audio_tokens("symbolic")
    # Files of each step are no reason to tokenize again.
    one, other = sets(write_events=True), sets()
    assert one.tokens_params() == other.tokens_params()
