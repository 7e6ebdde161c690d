"""The bars of a clip that lie whole within what is heard of it.

Bars are where the file's time signatures put them (`etude.midi.bars`). A stretch of a piece begins
and ends within a bar as a rule: these parts of bars are left out, and so is an upbeat. The last bar
of a piece counts where the piece ends within the stretch, and bars of silence before the first note
or after the last do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etude.midi import bars
from etude.midi.beats import clock_of
from etude.midi.notes import NoteTable

VERSION = 1  # raised when other bars are whole

MOST = 1024  # bars; a note an hour later would only take memory
ROUNDING = 1e-3  # seconds: times in clips.csv have three decimals
TINY = 1e-6  # of a bar
RINGS_ON = 1 / 32  # of a bar: what sounds no longer after a bar line makes no bar

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WholeBars:
    """Notes on an axis of bars.

    Attributes:
        count: how many bars there are; 0 where none is whole.
        first: the number of the first, from the beginning of the file.
        notes: the pitched notes that sound in them, those that began before included.
        onset, end: of each note, float64 [n], in bars from the first; the fractions are places in a
            bar, however long it is. What began before has a negative onset.
    """

    count: int
    first: int
    notes: NoteTable
    onset: Array
    end: Array


def whole_bars(table: NoteTable, start_s: float, seconds: float) -> WholeBars:
    """The whole bars of a stretch.

    Args:
        table: the notes that sound in it, those included that began before.
        start_s, seconds: where the stretch begins, and how long it is.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.arange(12) * 480, np.full(12, 480), np.full(12, 60))
        >>> found = whole_bars(table, 1.0, 5.0)  # three bars, heard from the third beat on
        >>> found.count, found.first
        (2, 1)
    """
    notes = table.without_drums()
    onset, end = (_bars(notes, ticks) for ticks in (notes.onset, notes.onset + notes.duration))
    if not len(notes):
        return WholeBars(0, 0, notes, onset, end)
    edges = np.array([start_s - ROUNDING, start_s + seconds + ROUNDING])
    low, high = _bars(notes, np.rint(clock_of(notes).ticks_at(edges)).astype(np.int64).clip(0))
    if edges[1] >= notes.end_s.max():
        high = np.ceil(end.max() - RINGS_ON)
    first = max(np.ceil(low - TINY), np.floor(onset.min()), float(notes.upbeat > 0))
    count = int(min(np.floor(high + TINY), np.ceil(end.max() - RINGS_ON)) - first)
    count = min(max(count, 0), MOST)
    inside = (end > first + TINY) & (onset < first + count - TINY)
    return WholeBars(
        count, int(first), notes.at(inside), onset[inside] - first, end[inside] - first
    )


def _bars(notes: NoteTable, ticks: NDArray[np.int64]) -> Array:
    """Ticks on the axis of bars."""
    found = bars.places(ticks, notes.signatures, notes.ticks_per_quarter)
    return found.bar + found.offset / found.length
