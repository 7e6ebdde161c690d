"""Ten kills at random moments of a run: the same bytes at the end, and the time that it cost.

The run is the demo in small (few pieces, few steps), so that a kill meets every kind of job.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import music
import psutil
import pytest
from record import record, table
from workspace import ROOT, SMOKE, Workspace, own_folder

pytestmark = pytest.mark.proof
KILLS = ["a job", "Snakemake"] * 5
LONGEST = 0.2  # a kill comes after 2 s at the least and this share of the whole run at the most
STAGES = ("semantic", "coarse", "fine")


def start(workspace: Workspace, arguments: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    log = (workspace.folder / "out.txt").open("a")
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, cwd=workspace.folder, env=environment, stdout=log, stderr=log)


def first_time(workspace: Workspace) -> list[str]:
    """The command of a small run: two jobs at a time, of a thread each."""
    music.make_chorales(workspace.folder / "music", 16, seed=4)
    mine = own_folder(workspace.folder / "music")
    training = {"steps": 60, "batch_size": 8, "warmup_steps": 5, "save_every": 5}
    mine["experiments"]["mine"]["stages"] = {stage: {"training": training} for stage in STAGES}
    configs = [str(SMOKE), str(workspace.config("mine", mine))]
    where = ["-s", str(ROOT / "Snakefile"), "--directory", str(workspace.folder)]
    threads = ["--cores", "2", "--max-threads", "1"]
    return ["snakemake", *where, *threads, "--configfile", *configs]


def jobs_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The Python processes of the adapters that run."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if any("snakemake/scripts" in word for word in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def rule_of(job: psutil.Process) -> str:
    words = [word for word in job.cmdline() if "snakemake/scripts" in word]
    return Path(words[0]).name.split(".")[1]


class Run:
    """A run that is started again whenever it was ended before its end."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.over = workspace, False
        self.process = start(workspace, first_time(workspace))

    def alive(self) -> bool:
        """Whether it runs; an ended one is resumed, unless it came to its own good end."""
        if self.process.poll() is not None and not self.over:
            if self.process.returncode == 0:
                self.over = True
            else:
                self.process = start(self.workspace, ["etude", "resume"])
        return not self.over

    def kill(self, what: str, wait: float) -> str | None:
        """Kill a job or Snakemake after `wait` seconds -> the rules that ran, None at the end."""
        deadline = time.monotonic() + wait
        while self.alive():
            time.sleep(0.02)
            if time.monotonic() < deadline:
                continue
            try:
                running = jobs_of(self.process)
                names = ", ".join(sorted({rule_of(job) for job in running}))
                if running:
                    victim = running[0].pid if what == "a job" else self.process.pid
                    os.kill(victim, signal.SIGKILL)
                    return names
            except (psutil.Error, ProcessLookupError, IndexError):
                continue  # it ended while we looked
        return None

    def finish(self) -> None:
        """Wait for the end."""
        while self.alive():
            time.sleep(0.1)


def unhurt(folder: Path) -> tuple[dict[str, bytes], float]:
    """Results of the run that nobody kills, and its seconds."""
    workspace = Workspace(folder)
    folder.mkdir()
    began = time.perf_counter()
    assert start(workspace, first_time(workspace)).wait() == 0, workspace.text("out.txt")[-3000:]
    return workspace.results(), time.perf_counter() - began


def test_ten_kills_end_in_the_same_bytes(tmp_path):
    whole, plain = unhurt(tmp_path / "whole")
    workspace, random = Workspace(tmp_path / "broken"), Random(0)
    workspace.folder.mkdir()
    began = time.perf_counter()
    run, rows = Run(workspace), []
    for number, what in enumerate(KILLS, start=1):
        wait = random.uniform(2, max(4, LONGEST * plain))
        killed = run.kill(what, wait)
        rows.append([number, what, f"{wait:.1f}", killed or "the run was over"])
    run.finish()
    seconds = time.perf_counter() - began
    broken = workspace.results()
    different = [name for name in whole if whole[name] != broken.get(name)]
    lost = seconds - plain
    count = sum(row[3] != "the run was over" for row in rows)
    lines = [
        (
            f"16 pieces, 60 steps a stage. {count} kills (kill -9) at random moments; "
            f"{len(whole)} files at the end, {len(different)} of them differ from those of a run "
            "that was never killed. "
            f"{seconds:.0f} s in all, {lost:.0f} s more than the {plain:.0f} s without "
            f"kills: {lost / count:.0f} s a kill."
        ),
        "",
        *table(["kill", "of", "after, s", "while it ran"], rows),
    ]
    record("Kills", "pytest benchmarks/bench_kills.py -m proof", lines)
    assert count >= 8
    assert broken.keys() == whole.keys()
    assert different == []
