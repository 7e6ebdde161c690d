"""Bar lines: where time signatures put them.

Signatures are int64 [m, 3] of (tick, numerator, denominator), in the order of time. Before the
first one, and where there is none, a bar has four quarters, as the MIDI standard has it. One in the
midst of a bar begins a new one. A first signature that holds for less than a bar of the second, as
1/4 before 4/4, is an upbeat: one bar, short at its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

COMMON = (4, 4)
NONE = np.zeros((0, 3), np.int64)
SHORTEST = 128  # of a whole note: the finest denominator that is written
MOST_BEATS = 255  # a file has one byte for them


@dataclass(frozen=True)
class BarPositions:
    """Where in its bar something is.

    Attributes: bar (int64 [n], from 0; the upbeat's bar is 0), offset and length (int64 [n]: how
    far into the bar, and how long that is, both in a unit of its own).
    """

    bar: np.ndarray
    offset: np.ndarray
    length: np.ndarray


def places(ticks: np.ndarray, signatures: np.ndarray, ticks_per_quarter: int) -> BarPositions:
    """The bars of ticks (int64 [n], not negative); an upbeat counts from where its bar would begin.

    In whole numbers: a bar of n/d has 4 n / d quarters, so that all is counted in 1/d of a tick.
    """
    signs = whole_bars(signatures, ticks_per_quarter)
    start, numerator, denominator = signs.T
    unit = 4 * ticks_per_quarter * numerator
    bars = -(-np.diff(start) * denominator[:-1] // unit[:-1])
    before = np.concatenate([[0], np.cumsum(bars)])
    of = np.searchsorted(start, ticks, side="right") - 1
    bar, offset = np.divmod((ticks - start[of]) * denominator[of], unit[of])
    return BarPositions(before[of] + bar, offset, unit[of])


def whole_bars(signatures: np.ndarray, ticks_per_quarter: int) -> np.ndarray:
    """The signatures in order, from tick 0 or from where the upbeat's bar would begin before it."""
    signs = _clean(signatures)
    if not upbeat(signs, ticks_per_quarter):
        return signs
    missing = bar_ticks(signs, ticks_per_quarter) * np.eye(1, 3, dtype=np.int64)
    return np.concatenate([signs[1:2] - missing, signs[2:]])


def upbeat(signatures: np.ndarray, ticks_per_quarter: int) -> int:
    """How many ticks the short first bar has; 0 where the first bar is whole."""
    signs = _clean(signatures)
    second = int(signs[1, 0]) if len(signs) > 1 else 0
    return second if second < bar_ticks(signs, ticks_per_quarter) else 0


def bar_ticks(signatures: np.ndarray, ticks_per_quarter: int) -> int:
    """The ticks of the first bar that is no upbeat, at least 1."""
    signs = _clean(signatures)
    lengths = (4 * ticks_per_quarter * signs[:2, 1] // signs[:2, 2]).clip(1).tolist()
    return int(lengths[1] if len(signs) > 1 and signs[1, 0] < lengths[1] else lengths[0])


def with_upbeat(ticks: int, ticks_per_quarter: int) -> np.ndarray:
    """The signatures of bars of four quarters after a short one; none where that has no ticks."""
    if not ticks:
        return NONE
    return np.array([(0, *signature(ticks, ticks_per_quarter)), (ticks, *COMMON)], np.int64)


def behind(signatures: np.ndarray, ticks_per_quarter: int, tick: int) -> np.ndarray:
    """The signatures of what begins at a tick, counted from there: bar lines stay in place."""
    if not len(signatures) or tick <= 0:
        return signatures
    signs = _clean(signatures)
    current = signs[np.searchsorted(signs[:, 0], tick, side="right") - 1]
    at = places(np.array([tick]), signs, ticks_per_quarter)
    rest = int((at.length[0] - at.offset[0]) // current[2]) if at.offset[0] else 0
    rest = max(rest, upbeat(signs, ticks_per_quarter) - tick)
    later = signs[signs[:, 0] > tick] - [tick, 0, 0]
    if not rest:
        return np.concatenate([[[0, *current[1:]]], later])
    if len(later) and later[0, 0] <= rest:
        return np.concatenate([[[0, *signature(int(later[0, 0]), ticks_per_quarter)]], later])
    short = [0, *signature(rest, ticks_per_quarter)]
    return np.concatenate([[short, [rest, *current[1:]]], later])


def signature(ticks: int, ticks_per_quarter: int) -> tuple[int, int]:
    """The time signature of a bar of this many ticks, as near as powers of two allow."""
    beats = 4  # two quarters are 2/4
    exact = Fraction(ticks, 4 * ticks_per_quarter)
    while beats < SHORTEST and (exact * beats).denominator > 1:
        beats *= 2
    return min(max(1, round(exact * beats)), MOST_BEATS), beats


def _clean(signatures: np.ndarray) -> np.ndarray:
    """In order, of several at one tick the last, from tick 0 on; what means nothing is left out."""
    signs = np.asarray(signatures, np.int64).reshape(-1, 3)
    signs = signs[(signs[:, 1] > 0) & (signs[:, 2] > 0)]
    signs = signs[np.argsort(signs[:, 0], kind="stable")]
    signs = signs[np.append(signs[1:, 0] != signs[:-1, 0], True)[: len(signs)]]
    if not len(signs) or signs[0, 0] > 0:
        signs = np.concatenate([[[0, *COMMON]], signs])
    return signs
