"""The default configuration from nothing: how long, and how much of it is start-up."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from record import record, table
from workspace import ROOT

pytestmark = pytest.mark.proof


def test_the_demo_and_its_start_up(demo):
    start = time.perf_counter()
    demo.workspace.run()
    again = time.perf_counter() - start
    share = write(demo.workspace.folder / "results/benchmarks", demo.seconds, again)
    assert share < 0.25


def test_from_clone_to_first_sound(demo, tmp_path):
    """A fresh clone and its set-up, then the demo's time until its clips are there."""
    times = {}
    clone = tmp_path / "etude"
    for name, command in (
        ("git clone", ["git", "clone", "--quiet", str(ROOT), str(clone)]),
        ("make setup", ["make", "-C", str(clone), "--no-print-directory", "setup"]),
    ):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        times[name] = time.perf_counter() - start
    times["make demo, until its clips are there"] = demo.first_sound
    total = sum(times.values())
    lines = [
        (
            f"{total / 60:.1f} minutes. Packages came from an index (or cache) nearby; over a slow "
            "line it is the download of 2 GB that counts."
        ),
        "",
        *table(["step", "seconds"], [[name, f"{s:.0f}"] for name, s in times.items()]),
    ]
    record("From clone to first sound", "pytest benchmarks/bench_demo.py -m proof", lines)


def write(folder: Path, wall: float, again: float) -> float:
    """The section of docs/benchmarks.md -> the share of start-up.

    Jobs that ran side by side are counted one after the other, so the share is an upper bound.
    """
    seconds, jobs = job_seconds(folder)
    imports = {rule: import_seconds(rule) for rule in jobs}
    importing = sum(imports[rule] * count for rule, count in jobs.items())
    share = (again + importing) / wall
    rows = [
        [rule, jobs[rule], f"{seconds[rule]:.1f}", f"{imports[rule]:.1f}"]
        for rule in sorted(jobs, key=seconds.get, reverse=True)
    ]
    lines = [
        (
            f"Whole run {wall:.0f} s, {sum(jobs.values())} jobs; a second run, which does nothing, "
            f"{again:.1f} s."
        ),
        (
            f"Start-up: {again:.1f} s of Snakemake's planning, {importing:.0f} s of starting "
            f"Python and importing in jobs, together {100 * share:.0f} % of the run at the most."
        ),
        "",
        *table(["rule", "jobs", "seconds in all", "start and imports, a job"], rows),
    ]
    record("The demo", "pytest benchmarks/bench_demo.py -m proof", lines)
    return share


def job_seconds(folder: Path) -> tuple[Counter, Counter]:
    """Seconds and number of jobs by rule, from Snakemake's benchmark files."""
    seconds, jobs = Counter(), Counter()
    for path in folder.rglob("*.tsv"):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                seconds[rule] += float(row["s"])
                jobs[rule] += 1
    return seconds, jobs


def import_seconds(rule: str) -> float:
    """What a job of the rule spends on starting Python and importing what its script imports."""
    code = (ROOT / "scripts" / f"{rule}.py").read_text(encoding="utf-8")
    lines = re.findall(r"^\s+(from etude\S* import [^\n(]+)$", code, re.MULTILINE)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=True)
    return time.perf_counter() - start
