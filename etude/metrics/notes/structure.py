"""Structureness: how far the most repeated stretch of a clip repeats (MusDr, ISMIR 2020).

The fitness of a stretch says how well all of its repetitions explain the clip (Müller, Jiang and
Grosche, "A robust fitness measure for capturing repetitions in music recordings", 2013; as in
Müller's FMP notebooks, C4S3): the best family of paths over the self-similarity matrix, as the
harmonic mean of its normalised score and coverage, trivial repetition taken off. All stretches
together are the scape plot; the structureness at a range of lengths is the highest fitness there.

Conventions
    The matrix is of the notes' chroma (12 shares of sounding time per frame, unit length), two
    frames a second, longer ones where a clip would have over 64; as in the notebooks all but the
    highest fifth is set to -2, and the rest scaled to 0..1. Lengths: 3-8 s, 8-15 s, 15 s or more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etude.midi.notes import NoteTable

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

RANGES = {
    "structureness_short": (3.0, 8.0),
    "structureness_mid": (8.0, 15.0),
    "structureness_long": (15.0, np.inf),
}
UNITS = dict.fromkeys(RANGES, "fitness")
MOST_FRAMES = 64
FRAME_S = 0.5
KEPT = 0.2  # share of the matrix above its threshold
PENALTY = -2.0


def chroma(table: NoteTable, start_s: float, seconds: float, frame_s: float) -> Array:
    """Sounding time per pitch class and frame: float64 [frames, 12].

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.array([0]), np.array([960]), np.array([60]))  # one second of C
        >>> chroma(table, 0.0, 1.0, frame_s=0.5)[:, 0].tolist()
        [0.5, 0.5]
    """
    notes = table.without_drums()
    frames = max(int(np.ceil(seconds / frame_s - 1e-9)), 1)
    edges = start_s + frame_s * np.arange(frames)
    overlap = np.minimum(notes.end_s, edges[:, None] + frame_s) - np.maximum(
        notes.onset_s, edges[:, None]
    )
    result = np.zeros((frames, 12))
    np.add.at(result.T, notes.pitch % 12, overlap.clip(0).T)
    return result


def similarity_matrix(frames: Array) -> Array:
    """Cosines of all pairs of frames, thresholded: 1 on the diagonal, -2 where they are unlike.

    Example:
        >>> import numpy as np
        >>> similarity_matrix(np.eye(5)[[0, 1, 2, 3, 4] * 2])[0].tolist()  # five frames, twice
        [1.0, -2.0, -2.0, -2.0, -2.0, 1.0, -2.0, -2.0, -2.0, -2.0]
    """
    length = np.linalg.norm(frames, axis=1, keepdims=True)
    unit = np.divide(frames, length, out=np.zeros_like(frames), where=length > 0)
    cosines = unit @ unit.T
    threshold = np.quantile(cosines, 1 - KEPT)
    high = max(float(cosines.max()), threshold + 1e-9)
    matrix = np.where(cosines >= threshold, (cosines - threshold) / (high - threshold), PENALTY)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def fitness(matrix: Array) -> Array:
    """The fitness of each stretch: float64 [n, n] by (length - 1, start); 0 where there is none.

    All stretches go through the dynamic programme together, row by row: state is [stretches,
    columns]; each cell carries its score, how many cells and frames its family has, and the row
    where its path began.

    Example:
        >>> import numpy as np
        >>> plot = fitness(similarity_matrix(np.eye(5)[[0, 1, 2, 3, 4] * 2]))  # five frames, twice
        >>> plot.max(1).round(2).tolist()[2:7]  # of three to seven frames: five is the best
        [0.37, 0.44, 0.5, 0.0, 0.0]
    """
    n = len(matrix)
    length, start = (x.ravel() for x in np.meshgrid(np.arange(1, n + 1), np.arange(n)))
    length, start = length[start + length <= n], start[start + length <= n]
    column = start[:, None] + np.arange(n)
    inside = np.arange(n) < length[:, None]
    similar = np.where(inside[None], matrix[:, column.clip(max=n - 1)], -np.inf)
    stretch = np.arange(len(length))
    out = _State(len(length), 1)
    out.score[:] = 0.0
    older, old = _State(len(length), n), _State(len(length), n)
    for row in range(n):
        out = out if row == 0 else out.better(old.column(stretch, length - 1).closed(row - 1))
        entered = out.copy()
        entered.begin[:] = row
        best = old.shifted(1)
        best = best.better(old.shifted(2))
        best = best.better(older.shifted(1)) if row > 1 else best
        new = best
        new.put_first(entered)
        new.score += similar[row]
        new.cells += 1
        older, old = old, new
    final = out.better(old.column(stretch, length - 1).closed(n - 1))
    cells, covered = final.cells[:, 0], final.covered[:, 0]
    gain = np.divide(final.score[:, 0] - length, cells, out=np.zeros(len(length)), where=cells > 0)
    cover = (covered - length) / n
    gain, cover = gain.clip(0), cover.clip(0)
    mean = np.divide(
        2 * gain * cover, gain + cover, out=np.zeros(len(length)), where=gain + cover > 0
    )
    plot = np.zeros((n, n))
    plot[length - 1, start] = mean
    return plot


class _State:
    """Score of the best family that ends in each cell, and what its fitness needs."""

    def __init__(self, stretches: int, columns: int) -> None:
        self.score = np.full((stretches, columns), -np.inf)
        self.cells = np.zeros((stretches, columns))
        self.covered = np.zeros((stretches, columns))
        self.begin = np.zeros((stretches, columns))

    def _map(self, function: Callable[[Array], Array]) -> _State:
        made = _State(0, 0)
        for name in ("score", "cells", "covered", "begin"):
            setattr(made, name, function(getattr(self, name)))
        return made

    def copy(self) -> _State:
        return self._map(np.copy)

    def column(self, stretch: NDArray[np.int64], index: NDArray[np.int64]) -> _State:
        """One column of each stretch."""
        return self._map(lambda a: a[stretch, index][:, None])

    def closed(self, row: int) -> _State:
        """Families whose last path ends in this row: its rows are covered."""
        made = self.copy()
        made.covered += row - made.begin + 1
        return made

    def shifted(self, by: int) -> _State:
        """Each cell has what is `by` columns to its left."""
        made = _State(*self.score.shape)
        for name in ("score", "cells", "covered", "begin"):
            getattr(made, name)[:, by:] = getattr(self, name)[:, :-by]
        return made

    def better(self, other: _State) -> _State:
        """Cell by cell the one with the higher score; of equal ones the first."""
        take = other.score > self.score
        made = _State(0, 0)
        for name in ("score", "cells", "covered", "begin"):
            setattr(made, name, np.where(take, getattr(other, name), getattr(self, name)))
        return made

    def put_first(self, entered: _State) -> None:
        """A path begins in the first column, after the families that `entered` has."""
        for name in ("score", "cells", "covered", "begin"):
            getattr(self, name)[:, 0] = getattr(entered, name)[:, 0]


def structureness(table: NoteTable, start_s: float, seconds: float) -> dict[str, float]:
    """Highest fitness at each range of lengths; NaN where nothing so long fits twice.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> tune = np.tile([60, 62, 64, 65, 67, 69, 71, 72], 4)
        >>> table = plain_table(np.arange(32) * 480, np.full(32, 480), tune)
        >>> found = structureness(table, 0.0, 16.0)
        >>> {name: round(value, 2) for name, value in found.items()}
        {'structureness_short': 0.75, 'structureness_mid': 0.5, 'structureness_long': nan}
    """
    frame_s = max(FRAME_S, seconds / MOST_FRAMES)
    frames = chroma(table, start_s, seconds, frame_s)
    plot = fitness(similarity_matrix(frames)).max(1) if len(frames) > 1 else np.zeros(1)
    lengths = frame_s * np.arange(1, len(frames) + 1)
    found = {}
    for name, (low, high) in RANGES.items():
        if seconds < 2 * low:  # no such stretch could be heard twice
            found[name] = float("nan")
            continue
        within = plot[(lengths >= low) & (lengths < high)]
        found[name] = float(within.max()) if len(within) else float("nan")
    return found
