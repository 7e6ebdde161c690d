"""Form by bars: whether bars come back, and whether stretches of bars come back in order.

Source
    The measures of PhraseLDM (arXiv 2512.11348; its evaluation/metrics.py), which takes a bar's
    vector from the latents of its own network. Here it is the bar's piano roll, so that the figures
    are of any clip with notes, and of none's network. The matrix of such cosines is the
    self-similarity matrix of Foote (ACM Multimedia 1999).

Conventions
    A bar's vector says which pitches sound in each of its 16 parts, however long the bar is: 0 or
    1, float64 [16 * 128]. Similarity is the cosine; a bar without notes is like no bar. Only whole
    bars count (`whole_bars`), of the entire clip and not of what is heard of it; real music is the
    pieces that real clips are of. Since there is more to come back to the more bars there are, all
    are measured over the first `evaluation.symbolic.form_bars`. Fewer than eight have no form: NaN.

Figures
    bars                how many whole bars the clip has
    bar_similarity      mean over bars of the highest similarity with another bar
    bright_ratio        share of the pairs of bars whose similarity is above 0.5
    section_recurrence  bars in runs, over all bars: a run is four or more pairs of bars (i, i + k),
                        (i + 1, i + 1 + k), ... above 0.5 of which none of (i, i + k + 1), ... is.
                        So a section that comes back counts each time, and the same bar over and
                        over, which is like all its neighbours, does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes.whole_bars import MOST, WholeBars, whole_bars
from etude.midi.notes import NoteTable

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

UNITS = {
    "bars": "bars", "bar_similarity": "similarity", "bright_ratio": "share",
    "section_recurrence": "bars a bar",
}  # fmt: skip
COUNT = "bars"  # the one that says nothing of form
FEWEST = 8  # bars: a run of four and what it comes back to
PARTS = 16  # of a bar
BRIGHT = 0.5
RUN = 4


def recurrence(table: NoteTable, from_s: float = 0.0, most: int = MOST) -> dict[str, float]:
    """All figures of some notes.

    Args:
        table: a clip or a piece.
        from_s: where it begins in its file.
        most: bars that are measured, the first ones.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> tune = np.tile(np.repeat([60, 62, 64, 65], 4), 4)  # four bars, four times
        >>> table = plain_table(np.arange(64) * 480, np.full(64, 480), tune)
        >>> recurrence(table)
        {'bars': 16.0, 'bar_similarity': 1.0, 'bright_ratio': 0.2, 'section_recurrence': 1.5}
    """
    bars = whole_bars(table, from_s, max(table.seconds - from_s, 0.0))
    found = dict.fromkeys(UNITS, float("nan")) | {COUNT: float(bars.count)}
    if bars.count >= FEWEST:
        found |= evaluate(similarity_matrix(piano_roll(bars)[:most]))
    return found


def evaluate(matrix: Array) -> dict[str, float]:
    """The figures of a self-similarity matrix [bars, bars] of two bars or more.

    Example:
        >>> import numpy as np
        >>> evaluate(np.ones((8, 8)))["bright_ratio"]  # all bars alike
        1.0
    """
    return {
        "bar_similarity": bar_similarity(matrix),
        "bright_ratio": bright_ratio(matrix),
        "section_recurrence": section_recurrence(matrix),
    }


def piano_roll(bars: WholeBars) -> Array:
    """Which pitches sound in which part of which bar: float64 [bars, 16 * 128] of 0 and 1.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.whole_bars import whole_bars
        >>> note = plain_table(np.array([0]), np.array([960]), np.array([60]))  # half a bar
        >>> roll = piano_roll(whole_bars(note, 0.0, 2.0)).reshape(16, 128)
        >>> roll[:, 60].tolist()[6:10]
        [1.0, 1.0, 0.0, 0.0]
    """
    steps = bars.count * PARTS
    begin, end = (np.rint(x * PARTS).astype(np.int64) for x in (bars.onset, bars.end))
    # A note shorter than a part, or one that is rounded away, still sounds in a part.
    end = np.maximum(end, begin + 1).clip(0, steps)
    change = np.zeros((steps + 1, 128), dtype=np.int16)
    np.add.at(change, (begin.clip(0, steps), bars.notes.pitch), 1)
    np.add.at(change, (end, bars.notes.pitch), -1)
    return (change.cumsum(0, dtype=np.int16)[:-1] > 0).reshape(bars.count, -1).astype(np.float64)


def similarity_matrix(vectors: Array) -> Array:
    """Cosines of all pairs of rows [bars, d]; 0 with a row of zeros.

    Example:
        >>> import numpy as np
        >>> similarity_matrix(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return unit @ unit.T


def bar_similarity(matrix: Array) -> float:
    """Mean of the highest similarity of each bar with another one.

    Example:
        >>> import numpy as np
        >>> bar_similarity(np.array([[1.0, 0.8], [0.8, 1.0]]))
        0.8
    """
    others = matrix.copy()
    np.fill_diagonal(others, -np.inf)
    return float(others.max(1).mean())


def bright_ratio(matrix: Array, threshold: float = BRIGHT) -> float:
    """Share of the pairs of bars above the threshold.

    Example:
        >>> import numpy as np
        >>> bright_ratio(np.array([[1.0, 0.9], [0.9, 1.0]]), threshold=0.5)
        1.0
    """
    return float((matrix[np.triu_indices(len(matrix), 1)] > threshold).mean())


def section_recurrence(matrix: Array, threshold: float = BRIGHT, least: int = RUN) -> float:
    """Bars in runs of `least` or more along a diagonal whose next one is dark there, over bars.

    Example:
        >>> import numpy as np
        >>> bars = np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]  # a section of four bars that comes again
        >>> section_recurrence(bars @ bars.T)
        0.5
    """
    bright, total = matrix > threshold, 0
    for lag in range(1, len(matrix)):
        here, above = np.diagonal(bright, lag), np.diagonal(bright, lag + 1)
        step = np.diff(np.concatenate([[0], here.astype(np.int8), [0]]))
        for begin, end in zip(np.flatnonzero(step > 0), np.flatnonzero(step < 0), strict=True):
            if end - begin >= least and not above[begin:end].any():
                total += int(end - begin)
    return total / len(matrix)
