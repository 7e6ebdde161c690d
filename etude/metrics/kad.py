"""Kernel audio distance (KAD: Chung et al., arXiv 2502.15602): 100 x unbiased squared MMD.

Conventions
    Embeddings are float [n, d], one row per window of audio. The kernel is Gaussian,
    exp(-|x - y|^2 / (2 h^2)); h is the median distance between rows of the *reference* and nothing
    else, so that all values against one reference can be compared. (The package kadtk 1.1.0 takes
    it from its second set, the evaluated one; its repository later from the first, as the paper
    says.) The estimate is unbiased, hence it may be a little below 0 for equal distributions.

Metrics
    * `kad`: 100 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)), pairs of different rows
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import distance as pairwise

from etude.errors import UserError
from etude.metrics.frechet import validate

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

SCALE = 100.0  # as the paper and kadtk print it
SOFTENING = 1e-8  # kadtk's, added to 2 h^2
BLOCK = 1024  # rows of a kernel matrix in memory at once
MEDIAN_ROWS = 4000  # of the reference, that the median is taken of: 8 million pairs, 64 MB
FEWEST_ROWS = 2


def median_distance(rows: Array, seed: int = 0) -> float:
    """The median distance between rows (of an even number the lower of the middle two, as torch).

    Of more than 4000 rows a seeded choice counts.

    Raises:
        UserError: all rows are equal.

    Example:
        >>> import numpy as np
        >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
        2.0
    """
    if len(rows) > MEDIAN_ROWS:
        rows = rows[np.random.default_rng(seed).permutation(len(rows))[:MEDIAN_ROWS]]
    distances = pairwise.pdist(rows)
    middle = (len(distances) - 1) // 2
    found = float(np.partition(distances, middle)[middle])
    if found <= 0:
        raise UserError(
            "the kernel of KAD has no width",
            code="no-spread",
            why="most embeddings of the reference are equal",
            do="give a reference of music that is not silent",
        )
    return found


class Kernel:
    """A reference set with its kernel's width, ready for any number of distances to it."""

    def __init__(self, reference: Array, bandwidth: float | None = None) -> None:
        self.reference = reference
        self.bandwidth = median_distance(reference) if bandwidth is None else bandwidth
        self.gamma = 1 / (2 * self.bandwidth**2 + SOFTENING)
        self.squares = np.einsum("ij,ij->i", reference, reference)
        every = np.ones((len(reference), 1))
        self.own = float(self._within(reference, every)[0])

    def distances(self, rows: Array, weights: Array) -> Array:
        """KAD of a set of rows [n, d] under several weightings [n, r] at once: [r].

        A weight says how often a row counts: 0 or 1 for a subset, more for a bootstrap. Pairs of a
        row with itself never count, else each row drawn twice would be a pair of equal sounds.
        """
        across = np.zeros(weights.shape[1])
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            means = self._kernel(block, self.reference, self.squares).mean(1)
            across += means @ weights[start : start + BLOCK]
        across /= weights.sum(0)
        return SCALE * (self.own + self._within(rows, weights) - 2 * across)

    def _within(self, rows: Array, weights: Array) -> Array:
        """Weighted means of the kernel over pairs of different rows: [r]."""
        squares = np.einsum("ij,ij->i", rows, rows)
        sums = np.zeros(weights.shape[1])
        for start in range(0, len(rows), BLOCK):
            stop = min(start + BLOCK, len(rows))
            kernel = self._kernel(rows[start:stop], rows, squares)
            kernel[np.arange(stop - start), np.arange(start, stop)] = 0
            sums += np.einsum("ij,ij->j", weights[start:stop], kernel @ weights)
        pairs = weights.sum(0) ** 2 - (weights**2).sum(0)
        return sums / pairs

    def _kernel(self, block: Array, rows: Array, squares: Array) -> Array:
        found = np.einsum("ij,ij->i", block, block)[:, None] + squares - 2 * (block @ rows.T)
        return np.exp(-self.gamma * found.clip(0))


def evaluate(reference: Array, estimate: Array, bandwidth: float | None = None) -> dict[str, float]:
    """All metrics of this module.

    Example:
        >>> import numpy as np
        >>> draw = np.random.default_rng(0).standard_normal
        >>> near = evaluate(draw((200, 4)), draw((200, 4)))["kad"]
        >>> far = evaluate(draw((200, 4)), draw((200, 4)) + 2)["kad"]
        >>> near < 1 < far
        True
    """
    validate(reference, estimate)
    kernel = Kernel(reference, bandwidth)
    return {"kad": float(kernel.distances(estimate, np.ones((len(estimate), 1)))[0])}
