"""The space that embeddings are compared in: standardised, reduced, and what is left over.

Conventions
    rows are float [n, d]; pieces [n] says which piece of music a row is from. The space is made
    from the reference alone.

Coordinates
    z = (x - mean) / max(deviation, floor), then
    * z V: principal components of the reference
    * weight (ln |z - z V V'| - m) / max(s, 0.05): the *residual*, what the components leave over,
      by m and s of the reference. Without it nothing that the reference does not do is heard: a
      whistle above the music lies outside of the span. In logs, since in its own unit one artefact
      would drown all else. (Novelty by reconstruction error: Hoffmann, Pattern Recognition 40,
      2007.)

    The reference's own residuals must not come from components fitted to the same rows: those are
    too small, and real music would be far from real music. They are computed out of fold, by
    pieces, since rows of one piece are alike; so are m and s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import UserError
from etude.metrics.frechet import Projection

VERSION = 1  # raised when the coordinates change

Array = NDArray[np.float64]

FOLDS = 8
SMALLEST_RESIDUAL, SMALLEST_SPREAD = 1e-3, 0.05


class Space(Projection):
    """A `Projection` with a coordinate for the residual; `rows` are the reference's own.

    Args:
        reference: [n, d].
        components, floor: as of `Projection`.
        weight: of the residual; 0 leaves it out, and all is as in `Projection`.
        pieces: the piece of each row (none: each row is one).

    Raises:
        UserError: a residual is asked for, and all rows are of one piece.
    """

    def __init__(
        self,
        reference: Array,
        components: int | None,
        floor: float,
        weight: float = 0.0,
        pieces: Sequence[object] | Array | None = None,
    ) -> None:
        super().__init__(reference, components, floor)
        self.weight = 0.0 if self.plain else weight
        if not self.weight:
            self.rows = super().__call__(reference)
            return
        labels = np.arange(len(reference)) if pieces is None else np.asarray(pieces)
        left = np.zeros(len(reference))
        for fold in folds(labels):
            other = Projection(reference[~fold], components, floor)
            left[fold] = log_residual(other, reference[fold])
        self.middle = float(left.mean())
        self.spread = max(float(left.std()), SMALLEST_SPREAD)
        self.rows = self._joined(reference, left)

    def __call__(self, rows: Array) -> Array:
        """[n, d] -> [n, components + 1], or as of `Projection` where no residual is asked for."""
        if not self.weight:
            return super().__call__(rows)
        return self._joined(rows, log_residual(self, rows))

    def _joined(self, rows: Array, left: Array) -> Array:
        last = self.weight * (left - self.middle) / self.spread
        return np.column_stack([super().__call__(rows), last])


def log_residual(projection: Projection, rows: Array) -> Array:
    """ln of the length of what a projection leaves over of each row: [n]."""
    standard = (rows - projection.mean) / projection.scale
    inside = np.square(standard @ projection.vectors).sum(1)
    left = np.sqrt((np.square(standard).sum(1) - inside).clip(0))
    return np.log(np.maximum(left, SMALLEST_RESIDUAL))


def folds(pieces: NDArray[Any], count: int = FOLDS) -> list[NDArray[np.bool_]]:
    """Masks of rows: each row in one of them, a piece never in two.

    Raises:
        UserError: there is one piece alone.

    Example:
        >>> import numpy as np
        >>> folds(np.array(["a", "a", "b", "c"]), count=2)
        [array([ True,  True,  True, False]), array([False, False, False,  True])]
    """
    names, numbers = np.unique(pieces, return_inverse=True)
    count = min(count, len(names))
    if count < 2:
        raise UserError(
            "the residual of the reference cannot be computed out of fold",
            why="all held-out clips are of one piece",
            do="give a reference of several pieces",
        )
    # A fixed shuffle: names in order often stand for kinds of music.
    place = np.random.default_rng(0).permutation(len(names)) % count
    return [place[numbers] == fold for fold in range(count)]
