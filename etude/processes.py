"""Who is alive on this machine: processes told apart for good, their parents, their marks.

All by psutil, which Snakemake itself needs, so that it is wherever a Snakefile is read; but for one
thing: on Linux psutil's time of birth moves with the system's clock, the kernel's count does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil

_PROC = Path("/proc")
_GONE = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


class Process(NamedTuple):
    """A process that cannot be confused with a later one of the same pid."""

    pid: int
    birth: str


def birth(pid: int) -> str | None:
    """When process `pid` began, in words that no later process shares; None if it runs no more.

    A zombie counts as gone: it does nothing, and in a container nobody may ever collect it.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in _GONE:
            return None
        return _counted_from_boot(pid) or str(process.create_time())
    except psutil.Error:
        return None


def _counted_from_boot(pid: int) -> str:
    """This start of the machine, and the clock ticks from it; empty where there is no /proc."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    return f"{boot}/{stat.rpartition(')')[2].split()[19]}"  # the name may hold spaces and brackets


def is_alive(process: Process) -> bool:
    """Whether this very process still runs."""
    return birth(process.pid) == process.birth


def parents_of_all() -> dict[int, int]:
    """The parent of every process that can be seen."""
    found = {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid"])}
    return {pid: parent for pid, parent in found.items() if parent is not None}


def ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    """The process, its parent, and so on."""
    found: set[int] = set()
    while pid not in found and pid in parents:
        found.add(pid)
        pid = parents[pid]
    return found


def marked(mark: str, run: str) -> set[int]:
    """Pids of the processes that have `mark`=`run` in their environment, where one may look."""
    every = psutil.process_iter(["environ"])
    return {process.pid for process in every if (process.info["environ"] or {}).get(mark) == run}
