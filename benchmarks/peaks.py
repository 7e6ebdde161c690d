"""The largest memory that a process has held, and no other's (Linux).

Not `ru_maxrss` of the process itself: that outlives exec, and a process that was just started is
charged with all that its starter held. `VmHWM` is of the program that runs now, and can be set
back, so that what came before a measurement does not count either.
"""

from __future__ import annotations

import resource
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Count from what is held now."""
    CLEAR.write_text("5", encoding="ascii")


def own_mb() -> float:
    """The most that this process has held since it began, or since `reset_peak`."""
    status = STATUS.read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def largest_mb() -> float:
    """The most that this process, or one of its workers that have ended, has held.

    Workers are forked without exec, so they are charged with what they shared and took alone.
    """
    return max(own_mb(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
