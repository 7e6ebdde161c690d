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
    * `Apart.tally(...).kad()`: 100 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)), pairs of
      different groups
    * `Tally.kad`: the same for any weighting of the clips, at the cost of a small matrix product
    * `difference`: of two sets to one reference, with its interval by the jackknife over groups
      (Efron and Stein, Annals of Statistics 9, 1981)

The reference's own uncertainty
    The reference is a few pieces of the music in question. A KAD's interval by `Tally.variance`
    is of the set's clips alone: other clips against the same pieces, which is what a comparison
    of rows needs. `Tally.reference_variance` is what other pieces would change; it belongs to
    a KAD that is read for itself (is it 0?). Of a `difference` a part does not cancel, since the
    pieces may be of a kind that one set is nearer to: 2 (mean k(a, y) - mean k(b, y)) over the
    reference's pieces y. Its interval has that part, by the jackknife over pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from etude.errors import UserError
from etude.metrics.kad import BLOCK, SCALE, Kernel

VERSION = 3  # raised when the figures change

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """Sums of the kernel over the pairs of clips of one set, from which any KAD of them follows.

    Attributes: apart (the reference), across [c] (sums over a clip's rows of the mean kernel to the
    reference), nearness [pieces] (sums over the reference's rows of a piece of the mean kernel to
    the set), within [c, c] (sums over pairs of rows; 0 where the clips are of one group), rows [c]
    (how many a clip has), groups [c].
    """

    apart: Apart
    across: Array
    nearness: Array
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
        return SCALE * (self.apart.own + found - 2 * across)

    def jackknife(self) -> Array:
        """KAD without each group in turn: [groups]."""
        kept = self.groups[:, None] != np.arange(int(self.groups.max()) + 1)
        return self.kad(kept.astype(np.float64))

    def variance(self) -> float:
        """Of the KAD by the set's clips: other ones, the same reference."""
        return jackknife_variance(self.jackknife())

    def reference_variance(self) -> float:
        """Of the KAD by the reference's pieces: the same clips, other pieces."""
        left_out = self.apart.without - 2 * self.apart.mean_without(self.nearness)
        return jackknife_variance(SCALE * left_out)


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
                code="one-piece-only",
                why="all held-out clips are of one piece",
                do="give a reference of several pieces",
            )
        reference, self.pieces = kernel.reference, groups
        self.sizes = np.bincount(groups).astype(float)
        sums = np.zeros(len(self.sizes))  # of each piece's rows with those of all others
        for start in range(0, len(reference), BLOCK):
            block = slice(start, start + BLOCK)
            near = self._block(reference[block], reference)
            near[groups[block][:, None] == groups] = 0
            np.add.at(sums, groups[block], near.sum(1))
        squares = np.square(self.sizes)
        self.own = float(sums.sum() / (len(groups) ** 2 - squares.sum()))
        # The same without each piece in turn: [pieces].
        pairs = (len(groups) - self.sizes) ** 2 - (squares.sum() - squares)
        with np.errstate(invalid="ignore", divide="ignore"):  # of two pieces there is no pair left
            self.without = np.where(pairs > 0, (sums.sum() - 2 * sums) / pairs, np.nan)

    def mean_without(self, sums: Array) -> Array:
        """Means over the reference's rows without each piece in turn, from sums by piece."""
        left: Array = (sums.sum() - sums) / (self.sizes.sum() - self.sizes)
        return left

    def tally(self, rows: Array, clips: Index, units: Sequence[str] = ()) -> Tally:
        """The sums of a set of rows [n, d].

        Args:
            clips: the clip of each row [n].
            units: the piece of each clip, by its number (none, or empty: the clip itself).
        """
        numbers, inverse = np.unique(clips, return_inverse=True)
        names = [(units[i] if units else "") or f"clip {i}" for i in numbers]
        groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
        across, near = np.zeros(len(numbers)), np.zeros(len(self.kernel.reference))
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            kernel = self._block(rows[block], self.kernel.reference)
            np.add.at(across, inverse[block], kernel.mean(1))
            near += kernel.sum(0) / len(rows)
        nearness = np.bincount(self.pieces, near).astype(np.float64)
        within = self._sums(rows, inverse, groups[inverse])
        counts = np.bincount(inverse).astype(float)
        return Tally(self, across, nearness, within, counts, groups)

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


def difference(one: Tally, other: Tally, level: float = 0.95) -> tuple[float, float, float]:
    """KAD of one set less that of another against one reference: (value, low, high).

    The clips of either set and the pieces of the reference are independent: their jackknife
    variances add, and Welch's degrees of freedom hold.

    Raises:
        UserError: it has no value, or no interval: a set without some clip or piece has no pair.
    """
    value = float(one.kad()[0] - other.kad()[0])
    nearer = 2 * SCALE * one.apart.mean_without(one.nearness - other.nearness)
    parts = [(t.variance(), int(t.groups.max())) for t in (one, other)]
    parts.append((jackknife_variance(nearer), len(nearer) - 1))
    total = sum(variance for variance, _ in parts)
    if not np.isfinite([value, total]).all():
        raise UserError(
            "a set has no pair of clips left when one clip or piece is left out",
            code="too-few-samples",
        )
    if total <= 0:
        return value, value, value
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    half = float(stdtrit(freedom, 0.5 + level / 2)) * total**0.5
    return value, value - half, value + half


def jackknife_variance(left_out: Array) -> float:
    """Of a figure, from what it is without each of n groups: [n].

    Example:
        >>> import numpy as np
        >>> x = np.array([1.0, 2.0, 3.0, 4.0])
        >>> left_out = (x.sum() - x) / 3  # means without each
        >>> bool(np.isclose(jackknife_variance(left_out), x.var(ddof=1) / 4))  # as by the formula
        True
    """
    n = len(left_out)
    return float((n - 1) / n * np.square(left_out - left_out.mean()).sum())
