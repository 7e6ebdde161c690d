"""Places that cannot be written, two runs in one folder, names that nobody expects."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import music
import pytest
from workspace import ROOT, SMOKE, mounted, own_folder

from etude.storage import read_csv

pytestmark = pytest.mark.workflow
CUTS = "results/cuts/mine/two_seconds/0000"
TOKENIZERS = "results/tokenizers/mine/magnitude"


@pytest.fixture
def small(workspace):
    """A corpus of three pieces, and the configuration that names it."""
    music.make_chorales(workspace.folder / "music", 3, seed=1)
    mine = own_folder(workspace.folder / "music")
    mine["corpora"]["mine"]["shards"] = 1
    workspace.configs = [SMOKE, workspace.config("mine", mine)]
    return workspace


def failed(workspace, *arguments):
    """What a run says that must fail, without a traceback."""
    done = workspace.run(*arguments, configs=workspace.configs, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said[-3000:]
    assert "Traceback" not in said, said[-5000:]
    return said


def test_a_file_where_results_should_be(small):
    (small.folder / "results").write_text("mine")
    for arguments in ([CUTS], ["-n", CUTS]):
        said = failed(small, *arguments)
        assert "the folder for results is none" in said
        assert "it is a file" in said
    assert (small.folder / "results").read_text() == "mine"


def test_a_read_only_folder(small):
    with mounted(small.folder / "results", "ro,size=1m"):
        said = failed(small, CUTS)
    assert "Read-only file system: 'results/corpora'" in said


def test_a_part_of_it_that_is_read_only(small):
    """What was made before stays, and with the folder mended the same command goes on."""
    with mounted(small.folder / "results/cuts", "ro,size=1m"):
        said = failed(small, CUTS)
    assert "Read-only file system: 'results/cuts/mine'" in said
    done = small.run(CUTS, configs=small.configs)
    assert "ingest_corpus" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "size",
    [
        pytest.param("40k", marks=pytest.mark.proof, id="at once"),
        pytest.param("1500k", id="in render"),
        pytest.param("4m", marks=pytest.mark.proof, id="in cuts"),
    ],
)
def test_a_full_disk(small, size):
    """At every size some job finds no space; with space the same command goes on."""
    disk = small.folder / "results"
    with mounted(disk, f"size={size}"):
        said = failed(small, CUTS)
        assert "No space left" in said or "no space is left" in said
        left = [path for path in disk.rglob("*") if ".part" in path.name]
        assert not left, "what is half written is removed"
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        small.run(CUTS, configs=small.configs)
        rows = list(read_csv(small.folder / CUTS / "index.csv"))
        assert {row["reason"] for row in rows if row["reason"]} <= {"too_short"}


def test_two_runs_in_one_folder(small):
    """The second is told who is there; the first is not disturbed."""
    command = [
        sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1",
        "--directory", str(small.folder), "--configfile", *map(str, small.configs), "--", CUTS,
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=small.folder, **quiet) as first:
        end = time.monotonic() + 60
        while not list((small.folder / ".snakemake").glob("locks/*")) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(first.pid, signal.SIGSTOP)  # or it may be done before the second has started
        try:
            said = failed(small, CUTS)
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert first.wait() == 0
    assert f"a run is alive in this folder already (pid {first.pid})" in said
    assert "LockException" in said
    assert (small.folder / CUTS / "index.csv").is_file()


def test_names_that_nobody_expects(small):
    """Spaces, unicode, a dash in front, 255 bytes, no UTF-8, one stem in two folders."""
    folder = small.folder / "music"
    shutil.rmtree(folder)
    names = [
        b"two words.mid",
        "Étude ♪ 日本.mid".encode(),
        b"-rf.mid",
        b"--help.wav",
        b"a/same.mid",
    ]
    names += [
        b"b/same.mid",
        b"b/same.wav",
        b"x" * 251 + b".mid",
        b"\xff\xfe.mid",
        b"%s {x} $HOME.mid",
    ]
    names += [b"new\nline.mid", b"'quote\" \\.wav"]
    for number, name in enumerate(names):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        random = music.Random(f"name {number}")
        if path.suffix == ".wav":
            music.recording(path, random, 24000, 1)
        else:
            plain = music.chorale(small.folder / "plain.mid", random, quarters=12)
            path.write_bytes(plain.read_bytes())
    small.run(CUTS, "results/corpora/mine/pieces.csv", configs=small.configs)
    rows = list(read_csv(small.folder / "results/corpora/mine/pieces.csv"))
    assert len(rows) == len(names)
    assert {row["status"] for row in rows} == {"kept"}, [row["reason"] for row in rows]
    cut = {
        row["piece"]
        for row in read_csv(small.folder / CUTS / "index.csv")
        if row["status"] == "kept"
    }
    assert cut == {row["piece"] for row in rows}


def test_files_that_cannot_be_read(small):
    """Dead links, folders and pipes that are called music (a permission means nothing to root)."""
    folder = small.folder / "music"
    (folder / "dead.wav").symlink_to("nowhere")
    (folder / "loop.mid").symlink_to("loop.mid")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.mid")
    (folder / "null.wav").symlink_to("/dev/null")
    small.run(CUTS, "results/corpora/mine/pieces.csv", configs=small.configs)
    rows = {row["path"]: row for row in read_csv(small.folder / "results/corpora/mine/pieces.csv")}
    rejected = {name: row["reason"] for name, row in rows.items() if row["status"] == "rejected"}
    assert rejected.keys() == {"dead.wav", "loop.mid"}
    assert all(reason.startswith("unreadable: ") for reason in rejected.values())
    assert len(rows) == 5


def test_a_corpus_of_which_nothing_sounds(small):
    """Too short and too quiet recordings are kept as pieces; what they lack is said by name."""
    folder = small.folder / "music"
    shutil.rmtree(folder)
    folder.mkdir()
    for number in range(6):
        wave = music.tones(music.Random(number), 0.1 if number % 2 else 3.0, 24000, 1)
        music.soundfile.write(folder / f"{number}.wav", wave * (1 if number % 2 else 1e-3), 24000)
    said = failed(small, TOKENIZERS)
    assert "there is nothing to fit a tokenizer on" in said
    assert "too_short" in said
    assert "blank_segment" in said


def test_clean_after_a_change_of_config(small):
    """As a user does it: an experiment's corpus is renamed, then what the old one left is removed."""
    small.run(CUTS, TOKENIZERS, configs=small.configs)
    notes = small.folder / "results/corpora/mine/notes.txt"
    notes.write_text("mine")
    said = small.etude("clean").stdout
    assert "everything is referred to" in said
    assert "corpora/mine/notes.txt" in said
    new = own_folder(small.folder / "music", "new")
    small.configs = [SMOKE, small.config("new", new)]
    small.run("results/corpora/new/pieces.csv", configs=small.configs)
    said = small.etude("clean", "--delete").stdout
    assert "'mine' is not in `corpora`" in said
    left = {path for path in (small.folder / "results").rglob("*mine*/**/*") if path.is_file()}
    assert {
        path
        for path in left
        if path.relative_to(small.folder).parts[1] not in ("logs", "benchmarks")
    } == {notes}
    assert (small.folder / "results/corpora/new/pieces.csv").is_file()
    assert "everything is referred to" in small.etude("clean").stdout
    done = small.run("-n", "results/corpora/new/pieces.csv", configs=small.configs)
    assert "Nothing to be done" in done.stdout
