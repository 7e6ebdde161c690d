"""What is counted in a clip's notes: pitch classes and note durations.

Both are of Neuromusic (evaluate.py). Its pitch classes go by music21's names, which spell the black
keys C#, E-, F#, G# and B- while it looks for twelve sharps: E flat and B flat are never counted.
Its durations are music21's quarter lengths, each length a bin of its own. Here pitch classes are
numbers, and durations fall into fixed musical bins; Neuromusic's own way is `compat="neuromusic"`.

Drums (channel 10) are left out, as Neuromusic does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.midi.notes import NoteTable

VERSION = 1  # raised when the counts change

Array = NDArray[np.float64]

NEUROMUSIC = "neuromusic"
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = (3, 10)  # music21 spells these pitch classes with flats
# Quarter notes: a 32nd to two whole notes, dotted and triplets; others go to the nearest by ratio.
DURATIONS = (
    1 / 8, 1 / 6, 3 / 16, 1 / 4, 1 / 3, 3 / 8, 1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0, 8 / 3,
    3.0, 4.0, 6.0, 8.0,
)  # fmt: skip
_EDGES = np.sqrt(np.array(DURATIONS[:-1]) * np.array(DURATIONS[1:]))
EPSILON = 1e-6  # Neuromusic's
LONGEST = 12 * 64  # bins of Neuromusic's own durations: twelfths of a quarter, up to 64 quarters


def pitch_classes(table: NoteTable, compat: str = "") -> Array:
    """How many notes each pitch class has: float64 [12].

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.arange(3), np.full(3, 480), np.array([60, 72, 67]))
        >>> pitch_classes(table).tolist()[:8]
        [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    """
    pitched = table.without_drums()
    counts = np.bincount(pitched.pitch % 12, minlength=12).astype(np.float64)
    if compat == NEUROMUSIC:
        counts[list(FLATS)] = 0
    return counts


def durations(table: NoteTable, compat: str = "") -> Array:
    """How many notes each duration has: float64 [18], or twelfths of a quarter as in Neuromusic.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.arange(2), np.array([480, 240]), np.array([60, 60]))
        >>> [(DURATIONS[i], int(n)) for i, n in enumerate(durations(table)) if n]  # in quarters
        [(0.5, 1), (1.0, 1)]
    """
    pitched = table.without_drums()
    quarters = pitched.duration / pitched.ticks_per_quarter
    if compat == NEUROMUSIC:
        twelfths = np.rint(12 * quantise(quarters, smallest=0.25)).astype(np.int64)
        return np.bincount(twelfths.clip(max=LONGEST), minlength=LONGEST + 1).astype(np.float64)
    bins = np.searchsorted(_EDGES, quarters)
    return np.bincount(bins, minlength=len(DURATIONS)).astype(np.float64)


def quantise(quarters: Array, smallest: float = 0.0) -> Array:
    """The nearest multiple of a quarter or a third of a quarter note, as music21 reads MIDI.

    Example:
        >>> import numpy as np
        >>> quantise(np.array([0.26, 0.34, 0.9])).round(3).tolist()
        [0.25, 0.333, 1.0]
    """
    fourths, thirds = np.rint(quarters * 4) / 4, np.rint(quarters * 3) / 3
    nearer = np.abs(thirds - quarters) < np.abs(fourths - quarters) - 1e-12
    return np.where(nearer, thirds, fourths).clip(min=smallest)


def seeds_distance(first: Array, second: Array) -> float:
    """KL of two counts as Neuromusic takes it: shares of the bins that either fills, plus 1e-6.

    Example:
        >>> import numpy as np
        >>> seeds_distance(np.array([1.0, 1.0]), np.array([2.0, 2.0]))
        0.0
    """
    used = (first > 0) | (second > 0)
    if not first.sum() or not second.sum():
        return float("nan")
    p, q = (c[used] / c.sum() + EPSILON for c in (first, second))
    return float((p * np.log(p / q)).sum())
