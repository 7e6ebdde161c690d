"""Means of what is measured of each clip, and how far they are from held-out music's.

Conventions
    A mean is not biased by the number of clips, so each set is taken whole, with its own n. The
    interval is a percentile bootstrap over pieces (clips that are of no piece stand for
    themselves), of as many pieces as the set has, moved so that its centre is the value.

    `X_from_real` is |mean of the set - mean of the reference|: nearer to real music is better,
    whichever side it is on. Its interval is that of the difference, both sides drawn, and ends at
    0. Two sets of real music are not at 0 but about a standard error away from it: read it beside
    the row `real`. Replicates have the sign of the difference taken off the value's own, so that
    they scatter about it evenly, and may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raised when the figures change

FROM_REAL = "_from_real"

Array = NDArray[np.float64]


def drawn_weights(pieces: Sequence[str], count: int, side: int) -> Array:
    """How often each clip is in each replicate, [count, n]: whole pieces, with replacement.

    Replicate r draws by r and `side` alone, so that replicates of two experiments pair.

    Example:
        >>> drawn_weights(["a", "a", "b"], count=2, side=0).tolist()  # a piece goes as a whole
        [[0.0, 0.0, 2.0], [1.0, 1.0, 1.0]]
    """
    names, piece = np.unique(np.array(pieces), return_inverse=True)
    drawn = np.empty((count, len(names)))
    for r in range(count):
        chosen = np.random.default_rng([r, side]).integers(0, len(names), len(names))
        drawn[r] = np.bincount(chosen, minlength=len(names))
    return drawn[:, piece]


def weighted_means(values: Array, weights: Array) -> Array:
    """Means of columns [n, d] by weights [r, n], NaN left out: [r, d]; NaN of nothing.

    Example:
        >>> import numpy as np
        >>> values = np.array([[1.0], [3.0], [np.nan]])
        >>> weighted_means(values, np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 0.0]])).tolist()
        [[2.0], [1.5]]
    """
    known = np.isfinite(values)
    total = weights @ known
    sums = weights @ np.where(known, values, 0.0)
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)


def mean_of(values: Array) -> Array:
    """The mean of each column [n, d], NaN left out.

    Example:
        >>> import numpy as np
        >>> mean_of(np.array([[1.0], [np.nan], [3.0]])).tolist()
        [2.0]
    """
    return weighted_means(values, np.ones((1, len(values))))[0]


def interval(value: float, replicates: Array) -> tuple[float, float] | None:
    """The 95 % interval about a value; None with fewer than two replicates.

    Example:
        >>> import numpy as np
        >>> low, high = interval(10.0, np.linspace(8, 12, 101))
        >>> round(low, 1), round(high, 1)
        (8.1, 11.9)
    """
    kept = replicates[np.isfinite(replicates)]
    if len(kept) < 2:
        return None
    low, high = value + np.percentile(kept, [2.5, 97.5]) - kept.mean()
    return float(low), float(high)


def distance(difference: float, replicates: Array) -> tuple[float, Array]:
    """The absolute value of a difference, and its replicates seen from the difference's side.

    Example:
        >>> import numpy as np
        >>> distance(-2.0, np.array([-2.5, 0.5]))
        (2.0, array([ 2.5, -0.5]))
    """
    side = math.copysign(1.0, difference)
    return abs(difference), side * replicates


def evaluate(reference: Array, estimate: Array) -> dict[str, float]:
    """All metrics of this module for two sets of one figure [n].

    Example:
        >>> import numpy as np
        >>> evaluate(np.array([1.0, 3.0]), np.array([5.0]))
        {'mean': 5.0, 'mean_from_real': 3.0}
    """
    real, made = (float(mean_of(values[:, None])[0]) for values in (reference, estimate))
    return {"mean": made, "mean_from_real": abs(made - real)}
