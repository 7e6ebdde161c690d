"""Broken files of every kind go from a folder to segments: each is a row, none ends the run."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import mutations
import pytest

from etude.storage import read_csv

ROOT = Path(__file__).resolve().parents[2]
SECONDS_PER_FILE = 0.5  # on average; one that hangs would take the test over its bound
MEMORY_MB = 1500  # of the largest process: half an hour of MIDI that claims to be music
REASONS = {
    *("corrupt_midi", "corrupt_audio", "empty_file", "no_notes", "no_samples", "only_drums"),
    *(
        "non_finite_samples",
        "unsupported_midi",
        "too_long",
        "silent",
        "crashed",
        "ends_early",
        "not_sound",
    ),
}

# In a process of its own, whose memory and error messages can be looked at.
ROAD = """
    import sys
    from pathlib import Path
    from benchmarks.peaks import largest_mb
    from etude.audio.cuts import cut_shard
    from etude.config import Cut, FolderCorpus
    from etude.corpus.ingest import ingest_shard
    from etude.midi.render import render_shard

    root, out = map(Path, sys.argv[1:])
    corpus = FolderCorpus(source="folder", path=root, shards=1, render={"rate": 16000})
    ingest_shard(corpus, root, 0, out / "ingest.csv", 2)
    render_shard(corpus, out / "ingest.csv", root, out / "wav", 2)
    cut_shard(Cut(seconds=1, rate=16000, write_audio=True), out / "wav", out / "cuts", 2)
    print(largest_mb())
"""


@pytest.mark.parametrize(
    ("count", "seed"), [(50, 0), pytest.param(1000, 1, marks=pytest.mark.slow)]
)
def test_broken_files_are_rows(tmp_path, count, seed):
    paths = mutations.mutate(tmp_path / "music", count, seed)
    began = time.monotonic()
    code = [sys.executable, "-c", textwrap.dedent(ROAD), tmp_path / "music", tmp_path]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30 + SECONDS_PER_FILE * count
    assert float(done.stdout) < MEMORY_MB

    rows = list(read_csv(tmp_path / "ingest.csv"))
    assert [row["path"] for row in rows] == [
        path.relative_to(tmp_path / "music").as_posix() for path in paths
    ]
    reasons = Counter(row["reason"].partition(":")[0] for row in rows if row["reason"])
    assert not reasons.keys() - REASONS, reasons
    assert 0.1 < reasons.total() / count < 0.95, "both sound and broken files are looked at"
    for row in rows:
        assert row["status"] == ("rejected" if row["reason"] else "kept")
    _nothing_is_lost(tmp_path, [row["piece"] for row in rows if row["status"] == "kept"])


def _nothing_is_lost(folder, kept):
    """Each table has every piece that the one before it kept; each kept row has its file."""
    rendered = list(read_csv(folder / "wav/index.csv"))
    assert [row["piece"] for row in rendered] == kept
    files = {row["file"] for row in rendered if row["status"] == "kept"}
    assert {path.name for path in (folder / "wav").glob("*.wav")} == files
    segments = list(read_csv(folder / "cuts/index.csv"))
    assert {row["piece"] for row in segments} == {name.removesuffix(".wav") for name in files}
    written = {row["segment"] + ".wav" for row in segments if row["status"] == "kept"}
    assert {path.name for path in (folder / "cuts").glob("*.wav")} == written
    assert not list(folder.rglob(".*.part*"))
