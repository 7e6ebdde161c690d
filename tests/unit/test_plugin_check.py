"""Extensions as a newcomer writes them: `etude config` tries each, and says what is wrong with it."""

from __future__ import annotations

import sys

import contributing
import numpy as np
import pytest
import yaml
from refused import refused

from etude.__main__ import main
from etude.config import DEFAULT, PluginCorpus, read
from etude.corpus.fetch import fetch, prune
from etude.corpus.ingest import ingest_shard
from etude.corpus.scan import digest_of
from etude.metrics.distances import METRICS, Yardstick, measure_sets
from etude.metrics.registry import open_distances
from etude.metrics.samples import Clips
from etude.results.leaderboard import LOWER, direction
from etude.storage import read_csv
from etude.workflow import needs, sources


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to run in, with the files of CONTRIBUTING.md; its modules are forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    contributing.write_files(tmp_path)
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs/one.txt").write_text("C4 E4 G4 C5", encoding="utf-8")
    (tmp_path / "songs/two.txt").write_text("C4 H4", encoding="utf-8")
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def config(here, content, name="mine.yaml"):
    (here / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return main(["config", "--configfile", name])


SONGS = {"source": "songbook:Songbook", "options": {"folder": "songs"}}

# File, what is written in it, what it becomes, and what must be said of that.
MISTAKES = {
    "a tokenizer of other shapes": ("loudness", "(low, edges[0]) +", "(low[:, 1:], edges[0]) +", ["encode", "failed", "loudness.py, line"]),
    "ids that are floats": ("loudness", "torch.bucketize(high, edges[1])", "low", ["encode", "int64"]),
    "ids beyond the codebook": ("loudness", "levels**2", "levels", ["encode", "codebook_size is 6"]),
    "frames that are not there": ("loudness", "return samples // self.hop", "return samples // self.hop + 1", ["encode"]),
    "what is learned is lost": ("loudness", 'self.tensors["edges"]', "self.edges", ["tensors", "AttributeError"]),
    "notes that are a list": ("steps", "return plain_table", "return list", ["decode"]),
    "words beyond the vocabulary": ("steps", "self.vocabulary = 1 + (highest", "self.vocabulary = 1 + (48", ["id outside"]),
    "no words": ("steps", ".tolist()", ".tolist()[:0]", ["encode", "no ids"]),
    "a network that sees the future": ("gru", "hidden, state = self.gru(self.embedding(ids), cache.state if cache else None)", "hidden, state = self.gru(self.embedding(ids).cumsum(1).flip(1))", ["Gru", "position i may see only"]),
    "a cache that forgets": ("gru", "cache.state = state", "pass", ["cache", "Gru"]),
    "logits of another size": ("lstm", "nn.Linear(dim, vocabulary)", "nn.Linear(dim, 3)", ["forward", "[2, 12, 3]"]),
    "a cache of notes that forgets": ("lstm", "cache.state = state", "pass", ["cache", "Lstm"]),
    "an embedding of another size": ("pitches", "dim = 12", "dim = 11", ["embed", "[2, windows, 11]"]),
    "an embedding without numbers": ("pitches", "+ 1e-9)", "* np.nan)", ["embed", "finite"]),
    "a figure that fails": ("pitches", "step = rate // 50", "step = 0", ["measure", "Attacks", "pitches.py, line"]),
    "a distance without a number": ("energy", "return float(", "return np.nan * float(", ["measure", "nan"]),
    "an option that is none": ("songbook", 'reads = ("folder",)', 'reads = ("foldr",)', ["reads", "'foldr'", "folder, program"]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [path.removesuffix(".yaml") for path in contributing.files() if path.endswith(".yaml")]
)
def test_each_extension_is_two_short_files_and_right_the_first_time(name, here, capsys):
    lines = [len((here / f"{name}{kind}").read_text().splitlines()) for kind in (".py", ".yaml")]
    assert sum(lines) <= 60
    assert main(["config", "--configfile", f"{name}.yaml"]) == 0
    assert f"tried: {name}:" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_before_the_run(mistake, here, capsys):
    name, old, new, words = MISTAKES[mistake]
    text = (here / f"{name}.py").read_text(encoding="utf-8")
    assert old in text
    (here / f"{name}.py").write_text(text.replace(old, new), encoding="utf-8")
    assert main(["config", "--configfile", f"{name}.yaml"]) == 1
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def test_a_tokenizer_that_no_token_set_names_yet_is_tried_by_what_it_has(here, capsys):
    assert (
        config(
            here, {"tokenizers": {"a": {"kind": "steps:Steps"}, "b": {"kind": "loudness:Loudness"}}}
        )
        == 0
    )
    assert "tried: steps:Steps loudness:Loudness" in capsys.readouterr().out


def test_what_cannot_learn_from_noise_is_no_mistake(here, capsys):
    text = (here / "loudness.py").read_text().replace("heard = ", "heard = 1 / 0 * ")
    (here / "loudness.py").write_text(text, encoding="utf-8")
    assert main(["config", "--configfile", "loudness.yaml"]) == 0
    assert (
        "made only: it does not learn from a few seconds: ZeroDivisionError"
        in capsys.readouterr().out
    )


# --------------------------------------------------------------------------------------- distances


def clip_set(seed, clips, d=1, shift=0.0):
    rows = np.random.default_rng(seed).standard_normal((3 * clips, d)) + shift
    return Clips(rows, np.repeat(np.arange(clips), 3))


def test_an_embedding_may_have_one_dimension(here, capsys):
    loud = "import numpy as np\n\n\nclass Level:\n    dim = components = 1\n    deviation_floor = 0.1\n\n    def __init__(self, sample_rate):\n        self.sample_rate = sample_rate\n\n    def embed(self, wave):\n        return np.log(np.square(wave).mean(1) + 1e-6)[:, None, None]\n"
    (here / "level.py").write_text(loud, encoding="utf-8")
    assert config(here, {"evaluation": {"embeddings": ["logmel", "level:Level"]}}) == 0
    real, made = clip_set(1, 40), clip_set(2, 40, shift=3.0)
    found = {m: c for _, m, _, c in measure_sets(Yardstick(real, 1, 0.1), {"generated": made}, {})}
    scale = real.windows.std()
    shift = (made.windows.mean() - real.windows.mean()) / scale
    spread = (made.windows.std(ddof=1) - real.windows.std(ddof=1)) / scale
    assert found["frechet_distance"].value == pytest.approx(shift**2 + spread**2)
    assert all(not isinstance(found[metric], str) for metric in METRICS)


def test_a_distance_of_ones_own_has_an_interval_and_a_direction(here):
    own = open_distances(["energy:Energy"], {})
    yardstick = Yardstick(clip_set(1, 40, d=3), 2, 0.1)
    yardstick.own = own
    sets = {
        "generated": clip_set(2, 24, d=3),
        "noise": clip_set(3, 24, d=3, shift=2.0),
        "few": clip_set(4, 6, d=3),
    }
    found = {s: c for s, m, _, c in measure_sets(yardstick, sets, {}, list(own))}
    assert found["generated"].value < found["noise"].value
    assert found["noise"].interval[0] > found["generated"].interval[1]
    assert "not to be compared with figures of 24 clips" in found["few"].note
    assert direction(*own) == LOWER


def test_a_distance_that_fails_costs_its_rows_alone(here):
    text = (here / "energy.py").read_text().replace("apart = ", "apart = 1 / 0 * ")
    (here / "energy.py").write_text(text, encoding="utf-8")
    yardstick = Yardstick(clip_set(1, 40, d=3), 2, 0.1)
    yardstick.own = open_distances(["energy:Energy"], {})
    metrics = ["frechet_distance", *yardstick.own]
    found = {
        m: c
        for _, m, _, c in measure_sets(yardstick, {"generated": clip_set(2, 24, d=3)}, {}, metrics)
    }
    assert found["distance_Energy"].startswith("failed: ZeroDivisionError")
    assert found["frechet_distance"].value > 0


# ----------------------------------------------------------------------------------------- sources


def test_what_a_source_reads_is_known_without_an_import(here):
    corpus = PluginCorpus(**SONGS)
    (here / "songbook.py").write_text(
        (here / "songbook.py").read_text() + "\n1 / 0\n", encoding="utf-8"
    )
    (songs,) = sources.read_where_they_lie(corpus)
    before = digest_of([songs])
    assert digest_of([songs]) == before
    (songs / "three.txt").write_text("D4 E4", encoding="utf-8")
    after = digest_of([songs])
    assert after != before
    (songs / "three.txt").write_text("D4 E5", encoding="utf-8")
    assert digest_of([songs]) not in (before, after)
    assert "songbook" not in sys.modules
    assert sources.read_where_they_lie(PluginCorpus(source="melodies:Melodies")) == []


def test_a_single_file_is_read_too(here):
    one = here / "songs/one.txt"
    before = digest_of([one])
    one.write_text("C4", encoding="utf-8")
    assert digest_of([one]) != before


def test_reads_must_be_written_out(here):
    text = (here / "songbook.py").read_text().replace('reads = ("folder",)', "reads = tuple(STEPS)")
    (here / "songbook.py").write_text(text, encoding="utf-8")
    with refused("plugin-attribute-unreadable", "`reads`", "Songbook") as caught:
        sources.read_where_they_lie(PluginCorpus(**SONGS))
    assert "songbook.py, line" in caught.value.where


def test_a_file_that_a_source_refuses_is_a_row_with_its_reason(here):
    fetch(PluginCorpus(**SONGS), here / "source", 1)
    assert [path.name for path in (here / "source").glob("*.mid")] == ["one.mid"]
    ingest_shard(PluginCorpus(**SONGS, shards=1), here / "source", 0, here / "table.csv", 1)
    rows = {row["path"]: row for row in read_csv(here / "table.csv")}
    assert list(rows) == ["one.mid", "two.txt"]
    assert (rows["one.mid"]["status"], rows["one.mid"]["notes"]) == ("kept", "4")
    assert (rows["two.txt"]["status"], rows["two.txt"]["reason"]) == ("rejected", "not_a_note: 'H'")


def test_a_withdrawn_file_is_not_told_as_refused(here):
    fetch(PluginCorpus(**SONGS), here / "source", 1)
    (here / "withdrawn.csv").write_text("file,date\ntwo.txt,2025-01-01\n", encoding="utf-8")
    prune(PluginCorpus(**SONGS, withdrawn="withdrawn.csv"), "metadata.csv", here / "source")
    ingest_shard(PluginCorpus(**SONGS, shards=1), here / "source", 0, here / "table.csv", 1)
    assert [row["path"] for row in read_csv(here / "table.csv")] == ["one.mid"]


def test_a_source_that_refuses_all_says_why(here):
    (here / "songs/one.txt").unlink()
    with refused("source-brought-nothing") as caught:
        fetch(PluginCorpus(**SONGS), here / "source", 1)
    assert "two.txt: not_a_note: 'H'" in caught.value.why


# ------------------------------------------------------------------------------- a corpus's folder


@pytest.mark.parametrize(
    "corpus",
    [{"source": "folder", "path": "no/such"}, {"source": "songbook:Songbook", "options": {"folder": "no/such"}}],
    ids=["a folder", "a source"],
)  # fmt: skip
def test_a_path_that_is_not_there_makes_no_valid_configuration(corpus, here, capsys):
    mine = {
        "corpora": {"mine": corpus},
        "experiments": {"mine": {"system": "audiolm", "corpus": "mine"}},
        "run": ["mine"],
    }
    assert config(here, mine) == 1
    said = capsys.readouterr()
    assert "no/such" in said.err
    assert "valid" not in said.out
    corpus = corpus | {"bring": "get it by post"}
    assert config(here, mine | {"corpora": {"mine": corpus}}) == 0
    said = capsys.readouterr().out
    assert "get it by post" in said
    assert "no/such" in said


def test_only_what_runs_must_be_there(here):
    mine = {"corpora": {"mine": {"source": "folder", "path": "no/such"}}}
    (here / "mine.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    needs.check_needs(read(DEFAULT, here / "mine.yaml"))
