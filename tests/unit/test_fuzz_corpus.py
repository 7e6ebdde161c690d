"""The fuzz corpus in its small form: every file a row or a count, the good files' codec unharmed."""

from __future__ import annotations

import time
from collections import Counter

import fuzz_corpus
import pytest
import torch

from etude.audio import recordings
from etude.audio.cuts import cut_shard
from etude.config import DEFAULT, Cut, Fit, FolderCorpus, MagnitudeRvq, SemitoneBands, read
from etude.corpus.audit import audit
from etude.corpus.ingest import ingest_shard
from etude.corpus.scan import list_files, printable
from etude.midi.render import render_shard
from etude.storage import read_csv, read_json, write_csv
from etude.tokenizers.fit import fit_tokenizer
from etude.tokenizers.pack import pack_tokens
from etude.tokenizers.tokenize import tokenize_shard
from etude.tokenizers.usage import hardly_used

SECONDS = 60  # of two shared cores, for all files; one that hangs would take far longer


@pytest.mark.slow
def test_every_file_is_a_row_or_a_count(tmp_path):
    root = tmp_path / "music"
    expected = fuzz_corpus.make(root, files=0)
    corpus = FolderCorpus(source="folder", path=root, shards=1)
    began = time.monotonic()
    ingest_shard(corpus, root, 0, tmp_path / "ingest.csv", 1)
    text, works = audit(root, corpus, read(DEFAULT), 1)
    assert time.monotonic() - began < SECONDS

    rows = {row["path"]: row for row in read_csv(tmp_path / "ingest.csv")}
    passed = [name for name, end in expected.items() if end == fuzz_corpus.PASSED]
    assert rows.keys() == {printable(name) for name in expected if name not in passed}
    for name, end in expected.items():
        if end not in (fuzz_corpus.PASSED, fuzz_corpus.ANY):
            row = rows[printable(name)]
            assert (row["reason"].partition(":")[0] or "kept") == end, (name, row["reason"])
    for name in (n for n in rows if n.startswith("cut/") and "nothing" not in n):
        assert "there" in rows[name]["reason"], "what was promised and found is said"
    assert works
    assert f"{len(rows)} files" in text
    over = "hidden files (4), hidden folders (1), links to folders that are read already (1)"
    assert f"passed over: {over}, pipes, sockets or devices (1)" in text
    rejected = Counter(row["status"] for row in rows.values() if row["kind"])["rejected"]
    assert f"rejected: {rejected + text.count('duplicate_of')}" in text


@pytest.mark.slow
def test_the_same_files_each_time(tmp_path):
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        fuzz_corpus.make(folder, files=0)
        regular = (f for f in list_files(folder) if (folder / f).is_file())
        contents.append({name: (folder / name).read_bytes() for name in regular})
    assert contents[0] == contents[1]


# ------------------------------------------------------------------------------------ the codec

FIT = Fit(segments=64)
SEMANTIC = SemitoneBands(kind="semitone_bands", clusters=16, fit=FIT)
ACOUSTIC = MagnitudeRvq(kind="magnitude_rvq", codebook_size=32, components=24, fit=FIT)
CUT = Cut(seconds=1, hop=1)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def packed(root, out):
    """The recordings of a folder, taken from files to packed tokens; all are for training."""
    corpus = FolderCorpus(source="folder", path=root, shards=1)
    ingest_shard(corpus, root, 0, out / "ingest.csv", 1)
    rows = [row for row in read_csv(out / "ingest.csv") if row["status"] == "kept"]
    fields = ["piece", "split", "tune_group", "sha256", "notes_hash", "status"]
    pieces = [
        {name: row.get(name, "") for name in fields}
        | {"split": "train", "tune_group": row["piece"]}
        for row in rows
    ]
    write_csv(out / "pieces.csv", fields, pieces)
    render_shard(corpus, out / "ingest.csv", root, out / "wav", 1)
    cut_shard(CUT, out / "wav", out / "cuts", 1)
    for settings, name in ((SEMANTIC, "semantic"), (ACOUSTIC, "acoustic")):
        given = [out / "wav"], [out / "cuts"], out / "pieces.csv"
        fit_tokenizer(settings, CUT, *given, out / name)
    both = out / "semantic", out / "acoustic"
    tokenize_shard(
        CUT, out / "wav", out / "cuts", *both, out / "tokens.jsonl", out / "left_out.csv"
    )
    pack_tokens(
        [out / "tokens.jsonl"],
        out / "pieces.csv",
        *both,
        CUT,
        out / "packed",
        [out / "left_out.csv"],
    )
    info = read_json(out / "packed/info.json")
    assert info["left_out"] == {"pieces": 0, "segments": 0}
    return info


def recordings_of(root):
    """The good recordings and those that are numbers but no sound, without the rest."""
    fuzz_corpus.make(root / "all", files=0)
    (root / "all/numbers").rename(root / "music")
    (root / "all/good").rename(root / "music/good")
    for path in (root / "music/good").glob("*.mid"):
        path.unlink()
    return root / "music"


@pytest.mark.slow
def test_the_codec_of_the_good_files_is_unharmed(tmp_path):
    info = packed(recordings_of(tmp_path), tmp_path)
    assert not list(hardly_used(info)), info["codes_used"]


@pytest.mark.slow
def test_a_codec_that_collapses_says_so(tmp_path, monkeypatch, caplog):
    """As it would be without the check: the one loud file takes the codes of all others."""
    root = recordings_of(tmp_path)
    monkeypatch.setattr(recordings, "LOUDEST", float("inf"))
    for path in root.glob("*.wav"):
        if path.name != "1e+20.wav":
            path.unlink()
    info = packed(root, tmp_path)
    lines = list(hardly_used(info))
    assert any("the acoustic codebook 4 of 4 has 32 codes" in line for line in lines), info
    assert all("of them in 1e-20-" in line for line in lines)
    assert all(line in caplog.text for line in lines)
