"""Symbolic tokens: against a plain loop, against MidiTok's bare call, on two cores, at scale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import music
import psutil
import pytest
from bench_kills import jobs_of, start
from bench_scale import many_pieces
from record import record, table
from workspace import ROOT, Workspace, own_folder

from etude.config import Filter, FolderCorpus, OnOff, Remi, SymbolicTokenSet, Tsd
from etude.corpus.ingest import ingest_shard
from etude.midi.notes import NoteTable, read_midi
from etude.storage import read_csv
from etude.tokenizers.symbolic import factory, tokenize
from etude.tokenizers.symbolic.midi_tok import MidiTokTokenizer
from etude.tokenizers.symbolic.midilm_vocabulary import DELTAS, HIGHEST, LOWEST, token_numbers
from etude.tokenizers.symbolic.onoff import OnOffTokenizer

pytestmark = pytest.mark.proof
COMMAND = "pytest benchmarks/bench_symbolic_tokens.py -m proof"
ROUNDS = 5
PIECES = int(os.environ.get("ETUDE_BENCH_PIECES", "100000"))  # fewer to try the script
SHARDS = max(4, PIECES // 2000)
ASKED = {"onoff / loop": 50, "remi / MidiTok": 0.9, "tsd / MidiTok": 0.9, "two / one core": 1.8}


def loop(table: NoteTable) -> list[int]:
    """What `OnOffTokenizer.encode` does, note by note, as the seed's scripts are written."""
    scale = 480 / table.ticks_per_quarter
    events = []
    columns = (table.onset, table.duration, table.pitch)
    for onset, duration, pitch in zip(*(column.tolist() for column in columns), strict=True):
        start, end = round(onset * scale), round((onset + duration) * scale)
        events.append((start, pitch, True))
        events.append((max(end, start + 1), pitch, False))
    events.sort(key=lambda event: (event[0], event[1], event[2]))
    sounding: dict[int, int] = {}
    kept = []
    for tick, pitch, on in events:
        count = sounding.get(pitch, 0) + (1 if on else -1)
        sounding[pitch] = count
        if count == (1 if on else 0):
            kept.append((tick, pitch, on))
    numbers, deltas, last, ids = token_numbers(), DELTAS.tolist(), 0, []
    for tick, pitch, on in kept:
        if not LOWEST <= pitch <= HIGHEST:
            continue
        since = tick - last
        delta = min(deltas, key=lambda value: abs(value - since))
        last = tick
        ids.append(numbers[f"{'on' if on else 'off'}_{pitch}_{delta}"])
    return ids


def best(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The fastest of some rounds, in seconds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)


def against_loop(tables: list[NoteTable]) -> float:
    """How many times faster the arrays are."""
    tokenizer = OnOffTokenizer(OnOff(kind="onoff"))
    assert all(tokenizer.encode(t) == loop(t) for t in tables), "the loop does something else"
    plain = best(lambda: [loop(t) for t in tables], 1)
    return plain / best(lambda: [tokenizer.encode(t) for t in tables])


def against_miditok(settings: Remi | Tsd, paths: list[Path]) -> float:
    """MidiTok's seconds from file to ids through ours; round by round in turn."""
    tokenizer, rules = MidiTokTokenizer(settings), Filter(drums="keep")
    ours = bare = float("inf")
    for _ in range(ROUNDS):
        ours = min(
            ours, best(lambda: [tokenizer.encode_file(p.read_bytes(), rules) for p in paths], 1)
        )
        bare = min(bare, best(lambda: [tokenizer.tok(p) for p in paths], 1))
    return bare / ours


def two_cores(folder: Path) -> float:
    """Seconds of a shard on one process through those on two."""
    corpus = FolderCorpus(source="folder", path=folder / "music", shards=1)
    ingest_shard(corpus, folder / "music", 0, folder / "ingest.csv", 2)
    target = folder / "tokenizer"
    factory.make_tokenizer(Remi(kind="remi"), Filter(), None, [], None, target)
    tokenize.loaded(target)
    run = partial(
        tokenize.tokenize_shard,
        *(SymbolicTokenSet(tokenizer="remi"), Filter(drums="keep"), target),
        *(folder / "ingest.csv", folder / "music"),
        *(folder / name for name in ("a.jsonl", "a.csv", "b.csv")),
    )
    return best(lambda: run(threads=1), 3) / best(lambda: run(threads=2), 3)


def test_speed(tmp_path):
    paths = [
        music.chorale(tmp_path / "music" / f"{i:04d}.mid", Random(i), quarters=200)
        for i in range(100)
    ]
    found = {
        "onoff / loop": against_loop([read_midi(path) for path in paths[:20]]),
        "remi / MidiTok": against_miditok(Remi(kind="remi"), paths[:40]),
        "tsd / MidiTok": against_miditok(Tsd(kind="tsd"), paths[:40]),
        "two / one core": two_cores(tmp_path),
    }
    rows = [[what, f"{value:.2f}", f"{ASKED[what]:g}"] for what, value in found.items()]
    lines = ["How many times faster, on pieces of some 1,000 notes:", ""]
    lines += table(["what", "times", "asked"], rows)
    record("Symbolic tokens", COMMAND, lines)
    assert all(found[what] >= asked for what, asked in ASKED.items())


# ---------------------------------------------------------------------------------------- at scale


MEMORY = """
import json, sys
from pathlib import Path
from benchmarks.peaks import largest_mb
from etude.config import Filter, FolderCorpus, SymbolicTokenSet
from etude.corpus.ingest import ingest_shard
from etude.tokenizers.symbolic.tokenize import tokenize_shard
root, work, shards, tokenizer = sys.argv[1:]
root, work, tokens = Path(root), Path(work), SymbolicTokenSet(tokenizer="onoff")
corpus = FolderCorpus(source="folder", path=root, shards=int(shards))
ingest_shard(corpus, root, 0, work / "ingest.csv", 1)
out = [work / name for name in ("a.jsonl", "a.csv", "b.csv")]
tokenize_shard(tokens, Filter(), Path(tokenizer), work / "ingest.csv", root, *out, threads=1)
print(json.dumps(largest_mb()))
"""


def memory(root: Path, work: Path, shards: int, tokenizer: Path) -> float:
    """The largest memory (MB) of ingest and tokenizing of one shard, in a process of its own."""
    command = [sys.executable, "-c", MEMORY, *map(str, (root, work, shards, tokenizer))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def test_many_files_in_flat_memory_and_a_kill_loses_nothing(tmp_path):
    workspace = Workspace(tmp_path)
    many_pieces(tmp_path / "music", PIECES)
    mine = own_folder(tmp_path / "music")
    mine["corpora"]["mine"]["shards"] = SHARDS
    mine |= {"tokenizers": {"onoff": {"kind": "onoff"}}, "tokens": {"s": {"tokenizer": "onoff"}}}
    config = workspace.config("mine", mine)
    targets = [f"results/tokens/mine/s/{shard:04d}.jsonl" for shard in range(SHARDS)]
    command = ["snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    command += ["--cores", "2", *targets, "--configfile", str(config)]
    began = time.perf_counter()
    process = start(workspace, command)
    tokens = tmp_path / "results" / "tokens" / "mine" / "s"
    while len(list(tokens.glob("[0-9]*.jsonl"))) < SHARDS // 3:
        assert process.poll() is None, (tmp_path / "out.txt").read_text()[-3000:]
        time.sleep(0.05)
    jobs: list[psutil.Process] = jobs_of(process)
    for pid in [process.pid, *(job.pid for job in jobs)]:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in tokens.glob("[0-9]*.jsonl")}
    assert start(workspace, ["etude", "resume"]).wait() == 0, (tmp_path / "out.txt").read_text()
    seconds = time.perf_counter() - began
    again = [path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp]
    rows = [row for path in tokens.glob("[0-9][0-9][0-9][0-9].csv") for row in read_csv(path)]
    small, large = (
        memory(tmp_path / "music", tmp_path, n, tmp_path / "results/tokenizers/mine/onoff")
        for n in (100, 10)
    )
    line = (
        f"{PIECES:,} MIDI files in {SHARDS} shards through ingest and tokenizing in {seconds:.0f} "
        f"s, killed (kill -9) after {len(before)} shards: {len(again)} of these were made again, "
        f"{len(rows):,} pieces have their row. Largest memory of a job: {small:.0f} MB with "
        f"{PIECES // 100:,} files in a shard, {large:.0f} MB with {PIECES // 10:,}."
    )
    record("Symbolic tokens at scale", COMMAND, [line])
    assert len({row["piece"] for row in rows}) == len(rows) == PIECES
    assert {row["status"] for row in rows} == {"kept"}
    assert len(again) <= 2  # jobs that had ended and of which Snakemake had not heard yet
    assert large < 1.3 * small + 50, "memory grows with the shard"
