"""A small corpus, taken to fad.txt on this machine and through SLURM, and what happens on the way."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import music
import psutil
from slurm.cluster import queue
from workspace import ROOT, SMOKE, Workspace, own_folder

STAGES = ("semantic", "coarse", "fine")
CLIPS = "results/clips/mine/seed-0/draw-0"  # what hangs on all three trainings
PROFILES = (ROOT / "profiles" / "slurm", ROOT / "tests" / "slurm" / "profile")
GPU_RULES = {"train_stage", "generate_clips", "make_baselines", "embed_clips"}
GPU_RULES |= {"embed_corpus", "extract_prefixes", "tokenize_clips"}  # of rules/memorisation.smk


def eight_pieces(workspace: Workspace) -> None:
    """Eight pieces, one shard, few steps, a state every other of them."""
    music.make_chorales(workspace.folder / "music", 8, seed=1)
    mine = own_folder(workspace.folder / "music")
    mine["corpora"]["mine"]["shards"] = 1
    training = {"steps": 24, "batch_size": 4, "warmup_steps": 2, "save_every": 2}
    mine["experiments"]["mine"] |= {
        "stages": {stage: {"training": training} for stage in STAGES},
        "generate": {"clips": 4},
    }
    workspace.configs = [SMOKE, workspace.config("mine", mine)]


def locally(workspace: Workspace) -> float:
    """Run on this machine, one job of one thread at a time -> seconds."""
    eight_pieces(workspace)
    began = time.monotonic()
    workspace.run("--cores", "1", configs=workspace.configs)
    return time.monotonic() - began


class SlurmRun:
    """A run whose jobs go through SLURM, in the background."""

    def __init__(self, workspace: Workspace, *options: str) -> None:
        self.workspace, self.log = workspace, workspace.folder / "said.txt"
        eight_pieces(workspace)
        configs = map(str, workspace.configs)
        profiles = [word for path in PROFILES for word in ("--profile", str(path))]
        where = ["-s", str(ROOT / "Snakefile"), "--directory", str(workspace.folder)]
        self.start("snakemake", *where, *options, *profiles, "--configfile", *configs)

    def start(self, *arguments: str) -> None:
        """Start `python -m …` in the folder of the run."""
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("a") as log:
            self.head = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.workspace.folder, env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def until(self, what: str, true: Callable[[], object], seconds: float = 900) -> None:
        """Wait for something that happens while the run is alive."""
        end = time.monotonic() + seconds
        while not true():
            assert self.head.poll() is None, f"the run ended before {what}:\n{self.said()}"
            assert time.monotonic() < end, f"never seen: {what}\n{self.said()}\n{queue()}"
            time.sleep(0.05)

    def finish(self, seconds: float = 1500) -> str:
        """What the run said, when it has come to its good end."""
        try:
            self.head.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"it does not end:\n{self.said()}\n{queue()}") from None
        assert self.head.returncode == 0, self.said()
        return self.log.read_text()

    def end(self) -> None:
        """Kill it, whatever it does (SIGTERM would wait for its jobs)."""
        self.head.kill()
        self.head.wait()

    def said(self) -> str:
        return self.log.read_text()[-6000:]

    # --------------------------------------------------------------------- a training that runs

    def training(self, stage: str) -> str:
        """The SLURM job that trains a stage, once it has saved a state."""
        found: list[str] = []

        def saved() -> bool:
            states = self.workspace.folder.glob("results/state/*/state.pt")
            trains = [job for job in jobs_of("train_stage", "R") if job_wildcard(job, stage)]
            found[:] = [job[0] for job in trains]
            return bool(found) and any(stage in about(path) for path in states)

        self.until(f"a saved state of {stage}", saved)
        return found[0]

    def process(self, rule: str) -> psutil.Process:
        """The Python process of an adapter."""
        found = next(adapters(rule, self.workspace.folder), None)
        assert found, f"no process of {rule}"
        return found


def about(state: Path) -> str:
    """What a state is of, in words."""
    try:
        return (state.parent / "about.json").read_text()
    except OSError:
        return ""


def jobs_of(rule: str, states: str = "all") -> list[list[str]]:
    """Rows of id, state, partition, nodes, comment."""
    return [row for row in queue(f"--states={states}") if row[4].startswith(f"rule_{rule}")]


def job_wildcard(row: list[str], stage: str) -> bool:
    return stage in row[4]


def adapters(rule: str, folder: Path) -> Iterator[psutil.Process]:
    """The Python processes of a rule's script in this folder."""
    for process in psutil.process_iter():
        try:
            words = [w for w in process.cmdline() if "snakemake/scripts" in w and rule in w]
            if words and process.cwd() == str(folder):
                yield process
        except psutil.Error:
            continue


def partitions_by_rule() -> dict[str, Counter[str]]:
    """How often the jobs of each rule (or group) stood in which partition."""
    found: dict[str, Counter[str]] = {}
    for _, _, partition, _, comment in queue("--states=all"):
        rule = comment.removeprefix("rule_").partition("_wildcards")[0]
        found.setdefault(rule, Counter())[partition] += 1
    return found


@dataclass
class Costs:
    """What SLURM's jobs of a run took, in seconds, and what their rules took of that."""

    jobs: int
    waited: float  # from being sent to the start
    elapsed: float  # from the start to the end
    rules: int
    own: float

    @property
    def overhead(self) -> float:
        """Seconds of a job that are not its rules'."""
        return (self.elapsed - self.own) / self.jobs


def job_costs(folder: Path) -> Costs:
    """Of the run in a folder, whose jobs have all ended well."""
    ours = {path.stem for path in (folder / "results/logs/slurm").rglob("*.log")}
    rows = [row for row in queue("--states=CD", form="%i|%V|%S|%e") if row[0] in ours]
    moments = [[datetime.fromisoformat(cell).timestamp() for cell in row[1:]] for row in rows]
    waited = sum(start - sent for sent, start, _ in moments)
    elapsed = sum(end - start for _, start, end in moments)
    return Costs(len(rows), waited, elapsed, *seconds_of_rules(folder))


def seconds_of_rules(folder: Path) -> tuple[int, float]:
    """The jobs of a run by Snakemake's benchmark files, and their seconds in all."""
    files = list((folder / "results/benchmarks").rglob("*.tsv"))
    rows = (next(csv.DictReader(file.open(), delimiter="\t")) for file in files)
    return len(files), sum(float(row["s"]) for row in rows)


def pause(process: psutil.Process, job: str, seconds: float) -> None:
    """A process that does nothing until its job is so old, as on a node that swaps."""
    process.send_signal(signal.SIGSTOP)
    ((began,),) = queue("-j", job, form="%S")
    time.sleep(datetime.fromisoformat(began).timestamp() + seconds - time.time())
    process.send_signal(signal.SIGCONT)
