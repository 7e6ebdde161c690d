"""An archive that brings its own split, as MAESTRO does."""

from __future__ import annotations

import zipfile
from random import Random

import pytest
from refused import refused

from etude.config import ArchiveCorpus
from etude.corpus.fetch import fetch
from etude.corpus.ingest import ingest_shard
from etude.corpus.scan import corpus_files, digests
from etude.corpus.split import decide_split
from etude.storage import read_csv
from tests import music

TABLE = "maestro-v3.0.0.csv"
SIDES = {"2004/a.midi": "train", "2004/b.midi": "validation", "2018/c.midi": "test",
         "2018/d.midi": "train"}  # fmt: skip


@pytest.fixture
def archive(tmp_path):
    """A made-up archive of MAESTRO's layout: years, a CSV and a JSON about the pieces."""
    top = tmp_path / "maestro-v3.0.0"
    for i, name in enumerate(SIDES):
        music.piano(top / name, Random(i))
    columns = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration"
    lines = [f'"Bach, J. S.",Piece,{s},{n[:4]},{n},{n[:-4]}wav,60' for n, s in SIDES.items()]
    (top / TABLE).write_text("\n".join([columns, *lines]) + "\n")
    (top / "maestro-v3.0.0.json").write_text("{}")
    (top / "LICENSE").write_text("made up")
    path = tmp_path / "maestro.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in [*sorted(top.rglob("*.*")), top / "LICENSE"]:
            file.write(member, member.relative_to(tmp_path))
    return path


def corpus(archive, **options):
    return ArchiveCorpus(source="archive", url=str(archive), shards=2, **options)


def test_the_official_split_is_taken(archive, tmp_path):
    settings, source = corpus(archive, metadata=TABLE), tmp_path / "source"
    fetch(settings, source, 1)
    tables = [tmp_path / f"{i}.csv" for i in range(2)]
    for i, table in enumerate(tables):
        ingest_shard(settings, source, i, table, 1)
    decide_split(settings, tables, tmp_path / "pieces.csv")
    rows = {row["path"]: row for row in read_csv(tmp_path / "pieces.csv")}
    assert TABLE not in rows
    wanted = {name: {"validation": "valid"}.get(side, side) for name, side in SIDES.items()}
    assert {name: rows[name]["split"] for name in SIDES} == wanted
    assert rows["2004/a.midi"]["canonical_composer"] == "Bach, J. S."


def test_a_named_table_that_is_not_there_is_an_error(archive, tmp_path):
    settings = corpus(archive, metadata="maestro-v2.0.0.csv")
    fetch(settings, tmp_path / "source", 1)
    with refused("file-not-found", "maestro-v2.0.0.csv"):
        ingest_shard(settings, tmp_path / "source", 0, tmp_path / "0.csv", 1)


def test_without_it_the_table_is_one_more_file(archive, tmp_path):
    source = tmp_path / "source"
    fetch(corpus(archive), source, 1)
    assert TABLE in corpus_files(source)
    assert TABLE not in corpus_files(source, metadata=TABLE)
    before = digests(source, 2, metadata=TABLE)
    (source / TABLE).write_text("file,split\n")
    after = digests(source, 2, metadata=TABLE)
    assert all(a != b for a, b in zip(before, after, strict=True))  # it is carried into all shards


def test_params_of_a_corpus_without_it_are_as_they_were(archive):
    assert "metadata" not in corpus(archive).params("shards", "metadata")
    assert TABLE in corpus(archive, metadata=TABLE).params("shards", "metadata")
