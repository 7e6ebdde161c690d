"""How far one distribution is from another: Kullback-Leibler and Jensen-Shannon.

Conventions
    Counts are float [..., bins] over bins that are fixed beforehand: the same for all sets, and
    not read off the data. All divergences are in nats. KL(real || made) punishes what the real
    music has and the made lacks; JS is symmetric and at most ln 2.

Smoothing
    Jeffreys adds 1/2 to every bin, Laplace 1; so a bin that one side never fills costs something
    finite. `none` leaves the counts, as KL then may be infinite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.errors import UserError

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]
SMOOTHING = {"jeffreys": 0.5, "laplace": 1.0, "none": 0.0}


def validate(real: Array, made: Array) -> None:
    """Check two arrays of counts.

    Raises:
        UserError: other bins, negative or infinite counts.

    Example:
        >>> import numpy as np
        >>> validate(np.ones(12), np.ones(12))  # silent: they can be compared
    """
    for name, counts in (("real", real), ("made", made)):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise UserError(f"the {name} counts hold negative or infinite values")
    if real.shape[-1] != made.shape[-1]:
        raise UserError(
            "the two histograms have different bins",
            why=f"{real.shape[-1]} and {made.shape[-1]}",
            do="count both in the same bins",
        )


def shares(counts: Array, smoothing: str = "jeffreys") -> Array:
    """Counts [..., bins] as shares that add up to 1; NaN where there is nothing to share.

    Example:
        >>> import numpy as np
        >>> shares(np.array([3, 1]), "none").tolist()
        [0.75, 0.25]
    """
    smooth = np.asarray(counts, dtype=np.float64) + SMOOTHING[smoothing]
    total = smooth.sum(-1, keepdims=True)
    return np.divide(smooth, total, out=np.full_like(smooth, np.nan), where=total > 0)


def kl(p: Array, q: Array) -> Array:
    """KL(p || q) over the last axis; infinite where q lacks what p has, NaN where p or q is.

    Example:
        >>> import numpy as np
        >>> p = np.array([0.5, 0.5])
        >>> float(kl(p, p)), round(float(kl(p, np.array([0.25, 0.75]))), 4)
        (0.0, 0.1438)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p == 0, 0.0, p * np.log(p / q))
    divergence = terms.sum(-1)
    return np.where(np.isnan(q).any(-1), np.nan, divergence)


def js(p: Array, q: Array) -> Array:
    """Jensen-Shannon divergence over the last axis: 0 to ln 2.

    Example:
        >>> import numpy as np
        >>> round(float(js(np.array([1.0, 0.0]), np.array([0.0, 1.0]))), 4)  # ln 2
        0.6931
    """
    middle = (p + q) / 2
    return (kl(p, middle) + kl(q, middle)) / 2


def entropy_bits(counts: Array) -> Array:
    """Shannon entropy over the last axis in bits, unsmoothed; NaN of nothing.

    Example:
        >>> import numpy as np
        >>> float(entropy_bits(np.array([1, 1, 1, 1])))
        2.0
    """
    p = shares(counts, "none")
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.where(p == 0, 0.0, p * np.log2(p)).sum(-1)


def evaluate(real: Array, made: Array, smoothing: str = "jeffreys") -> dict[str, float]:
    """All metrics of this module for two histograms [bins].

    Example:
        >>> import numpy as np
        >>> found = evaluate(np.array([8, 0]), np.array([4, 4]))
        >>> {name: round(value, 3) for name, value in found.items()}
        {'kl': 0.479, 'js': 0.137}
    """
    validate(real, made)
    p, q = shares(real, smoothing), shares(made, smoothing)
    return {"kl": float(kl(p, q)), "js": float(js(p, q))}
