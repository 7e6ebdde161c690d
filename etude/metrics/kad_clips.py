"""KAD without pairs of one clip or one piece, with the jackknife over clips.

Conventions
    As `kad`: a Gaussian kernel of the reference's width, 100 x an unbiased squared MMD. Unbiased it
    is for independent rows; windows of one clip overlap, and excerpts of one piece are alike, so
    that pairs of them make real music seem farther from real music the fewer clips or pieces there
    are (32 real clips of 4, 8, 16, 32 pieces: 1.05, 0.60, 0.36, 0.22; without such pairs 0.09,
    0.19, 0.23, 0.22). Here they do not count: neither in the set nor in the reference.

    groups says what a row's clip or piece is. For generated clips it is the clip, for real ones
    the piece.

Metrics
    * `kad_apart`: 100 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)), pairs of different groups
    * `Tally.kad`: the same for any weighting of the clips, at the cost of a small matrix product
    * `difference`: of two sets to one reference, with its interval by the jackknife over groups
      (Efron and Stein, Annals of Statistics 9, 1981). Both hear the same reference, whose own
      uncertainty is left out: it moves both alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from etude.errors import UserError
from etude.metrics.kad import BLOCK, SCALE, Kernel

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """Sums of the kernel over the pairs of clips of one set, from which any KAD of them follows.

    Attributes: own (the reference's mean over pairs apart), across [c] (sums over a clip's rows of
    the mean kernel to the reference), within [c, c] (sums over pairs of rows; 0 where the clips are
    of one group), rows [c] (how many a clip has), groups [c].
    """

    own: float
    across: Array
    within: Array
    rows: Array
    groups: Index

    def kad(self, weights: Array | None = None) -> Array:
        """KAD under weightings of the clips [c, r] (none: all once): [r]; NaN without a pair."""
        weights = np.ones((len(self.rows), 1)) if weights is None else weights
        counts = weights * self.rows[:, None]
        totals = counts.sum(0)
        by_group = np.zeros((int(self.groups.max()) + 1, weights.shape[1]))
        np.add.at(by_group, self.groups, counts)
        pairs = totals**2 - np.square(by_group).sum(0)
        within = np.einsum("cr,cr->r", weights, self.within @ weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            across = (self.across @ weights) / totals
            # Weights are whole numbers times rows: fewer than one pair is none.
            found: Array = np.where(pairs > 0.5, within / pairs, np.nan)
        return SCALE * (self.own + found - 2 * across)

    def jackknife(self) -> Array:
        """KAD without each group in turn: [groups]."""
        kept = self.groups[:, None] != np.arange(int(self.groups.max()) + 1)
        return self.kad(kept.astype(np.float64))

    def variance(self) -> float:
        """The jackknife's variance of the KAD."""
        left_out = self.jackknife()
        n = len(left_out)
        return float((n - 1) / n * np.square(left_out - left_out.mean()).sum())


class Apart:
    """A reference whose pairs of one piece do not count, ready for any number of sets.

    Args:
        kernel: the reference's rows with their width.
        pieces: of the reference's rows [n].

    Raises:
        UserError: the reference is of one piece.
    """

    def __init__(self, kernel: Kernel, pieces: Sequence[object] | Array) -> None:
        self.kernel = kernel
        groups = np.unique(np.asarray(pieces), return_inverse=True)[1]
        if groups.max() < 1:
            raise UserError(
                "KAD has no pairs",
                why="all held-out clips are of one piece",
                do="give a reference of several pieces",
            )
        reference = kernel.reference
        # One part: of a large reference the sums by row would fill the memory.
        sums = self._sums(reference, np.zeros(len(reference), dtype=np.int64), groups)[0, 0]
        sizes = np.bincount(groups).astype(float)
        self.own = float(sums / (len(groups) ** 2 - np.square(sizes).sum()))

    def tally(self, rows: Array, clips: Index, units: Sequence[str] = ()) -> Tally:
        """The sums of a set of rows [n, d].

        Args:
            clips: the clip of each row [n].
            units: the piece of each clip, by its number (none, or empty: the clip itself).
        """
        numbers, inverse = np.unique(clips, return_inverse=True)
        names = [(units[i] if units else "") or f"clip {i}" for i in numbers]
        groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
        across = np.zeros(len(numbers))
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            means = self._block(rows[block], self.kernel.reference).mean(1)
            np.add.at(across, inverse[block], means)
        within = self._sums(rows, inverse, groups[inverse])
        counts = np.bincount(inverse).astype(float)
        return Tally(self.own, across, within, counts, groups)

    def _sums(self, rows: Array, parts: Index, groups: Index) -> Array:
        """Sums of the kernel over pairs of rows of different groups, by parts: [parts, parts]."""
        count = int(parts.max()) + 1
        found = np.zeros((count, count))
        member = np.zeros((len(rows), count))
        member[np.arange(len(rows)), parts] = 1
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            kernel = self._block(rows[block], rows)
            kernel[groups[block][:, None] == groups] = 0
            found += member[block].T @ (kernel @ member)
        return found

    def _block(self, block: Array, rows: Array) -> Array:
        squares = np.square(block).sum(1)[:, None] + np.square(rows).sum(1)
        found: Array = np.exp(-self.kernel.gamma * (squares - 2 * block @ rows.T).clip(0))
        return found


def kad_apart(
    reference: Array, pieces: Sequence[object] | Array, estimate: Array, groups: Index
) -> float:
    """KAD of rows [n, d] without pairs of one group; pieces [m] and groups [n] of the rows."""
    return float(Apart(Kernel(reference), pieces).tally(estimate, groups).kad()[0])


def difference(one: Tally, other: Tally, level: float = 0.95) -> tuple[float, float, float]:
    """KAD of one set less that of another against one reference: (value, low, high).

    The sets are independent: their jackknife variances add, and Welch's degrees of freedom hold.
    """
    value = float(one.kad()[0] - other.kad()[0])
    variances, freedoms = zip(*((t.variance(), t.groups.max()) for t in (one, other)), strict=True)
    total = sum(variances)
    if not total > 0:
        return value, value, value
    freedom = total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    half = float(stdtrit(freedom, 0.5 + level / 2)) * total**0.5
    return value, value - half, value + half

