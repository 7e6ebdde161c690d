"""Who is alive on this machine: processes told apart for good, their parents, their marks.

Read at parse time, so: standard library only.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Process(NamedTuple):
    """A process that cannot be confused with a later one of the same pid."""

    pid: int
    birth: str


def birth(pid: int) -> str | None:
    """When process `pid` began, in words that no later process shares; None if it runs no more.

    A zombie counts as gone: it does nothing, and in a container nobody may ever collect it.
    """
    if not _PROC.is_dir():
        return _birth_by_ps(pid)
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZXx" else f"{_boot()}/{fields[19]}"


def _boot() -> str:
    """This start of the machine: the kernel counts births from it."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _birth_by_ps(pid: int) -> str | None:
    rows = _ps("-p", str(pid), "-o", "stat=", "-o", "lstart=")
    state, _, started = rows[0].partition(" ") if rows else ("Z", "", "")
    return None if state.startswith("Z") else started.strip()


def _ps(*options: str) -> list[str]:
    """The rows that `ps` prints, for systems without /proc (macOS)."""
    env = {**os.environ, "LC_ALL": "C"}
    found = subprocess.run(["ps", *options], capture_output=True, text=True, env=env, check=False)
    return [row.strip() for row in found.stdout.splitlines() if row.strip()]


def is_alive(process: Process) -> bool:
    """Whether this very process still runs."""
    return birth(process.pid) == process.birth


def parents_of_all() -> dict[int, int]:
    """The parent of every process that can be seen."""
    if not _PROC.is_dir():
        return {int(pid): int(ppid) for pid, ppid in map(str.split, _ps("-A", "-o", "pid=,ppid="))}
    parents = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(errors="replace")
        except OSError:  # it ended while we looked
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    """The process, its parent, and so on."""
    found: set[int] = set()
    while pid not in found and pid in parents:
        found.add(pid)
        pid = parents[pid]
    return found


def marked(mark: str, run: str) -> set[int]:
    """Pids of the processes that have `mark`=`run` in their environment."""
    if not _PROC.is_dir():
        return _marked_by_psutil(mark, run)
    wanted, found = f"{mark}={run}".encode(), set()
    for folder in _PROC.glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
        except OSError:  # another user's, or it ended
            continue
    return found


def _marked_by_psutil(mark: str, run: str) -> set[int]:
    try:
        import psutil
    except ImportError:  # a bare Snakemake: the recorded jobs and their children must do
        return set()
    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(mark) == run:
                found.add(process.pid)
        except (psutil.Error, OSError):
            continue
    return found
