"""What music is like in a few words, from its notes: `steel drum, high, fast, dense, minor`.

Only what stands out is said: music of a middling register has no word for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etude.midi.notes import NoteTable
from etude.midi.programs import together

VERSION = 1  # raised when words change

LOW, HIGH = 55.0, 67.0  # mean pitch, notes weighted by their length
SLOW, FAST = 85.0, 130.0  # quarter notes a minute
SPARSE, DENSE = 2.0, 6.0  # onsets a second, chords counted once
MOST_PROGRAMS = 3  # named one by one; with more of them it is an ensemble

# Krumhansl and Kessler's key profiles (Krumhansl, Cognitive Foundations of Musical Pitch, 1990).
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


def words_of(table: NoteTable, kinds: Sequence[str]) -> list[str]:
    """The words of a piece, in the order of `kinds`.

    Args:
        kinds: of `program`, `register`, `tempo`, `density`, `mode`.
    """
    makers = {
        "program": programs,
        "register": register,
        "tempo": tempo,
        "density": density,
        "mode": mode,
    }
    if not len(table):
        return []
    return [word for kind in kinds if (word := makers[kind](table))]


def programs(table: NoteTable) -> str:
    """The programs in the order of how much they play; `ensemble` for more than three."""
    counts = np.bincount(table.program)
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())].tolist()
    return together(order) if len(order) <= MOST_PROGRAMS else "ensemble"


def register(table: NoteTable) -> str:
    """`low` or `high`, by the mean pitch of what is not drums."""
    table = table.without_drums()
    if not len(table):
        return ""
    mean = float(np.average(table.pitch, weights=table.duration))
    return _beyond(mean, (LOW, "low"), (HIGH, "high"))


def tempo(table: NoteTable) -> str:
    """`slow` or `fast`, by the mean tempo between the first onset and the last end."""
    ticks = int((table.onset + table.duration).max() - table.onset.min())
    seconds = table.seconds - float(table.onset_s.min())
    quarters = ticks / table.ticks_per_quarter
    return _beyond(60 * quarters / max(seconds, 1e-9), (SLOW, "slow"), (FAST, "fast"))


def density(table: NoteTable) -> str:
    """`sparse` or `dense`, by onsets a second; notes of a chord begin at once."""
    seconds = table.seconds - float(table.onset_s.min())
    rate = len(np.unique(table.onset)) / max(seconds, 1e-9)
    return _beyond(rate, (SPARSE, "sparse"), (DENSE, "dense"))


def mode(table: NoteTable) -> str:
    """`major` or `minor`: of the 24 key profiles the one that correlates best."""
    table = table.without_drums()
    if not len(table):
        return ""
    histogram = np.bincount(table.pitch % 12, weights=table.duration, minlength=12)
    if np.ptp(histogram) == 0:  # all pitch classes alike: no key
        return ""
    best = {
        name: max(np.corrcoef(histogram, np.roll(profile, tonic))[0, 1] for tonic in range(12))
        for name, profile in (("major", MAJOR), ("minor", MINOR))
    }
    return max(best, key=lambda name: best[name])


def _beyond(value: float, low: tuple[float, str], high: tuple[float, str]) -> str:
    if value <= low[0]:
        return low[1]
    return high[1] if value >= high[0] else ""
