"""Fréchet distance of vectors of symbolic features, fit for few clips.

A clip's vector are its scalars of harmony, voices and rhythm and the shares of its note durations
(`VECTOR` of etude.metrics.notes.table: nothing that knows the key or the tempo), each in the steps
that matter of it (a semitone, a hundredth of a share): a feature that hardly varies in the
reference, such as the velocity of scores, would else decide the distance alone. They are
standardised by the reference and reduced to its principal components (etude.metrics.frechet); the
covariances are shrunk towards a multiple of the identity as Ledoit and Wolf do ("A well-conditioned
estimator for large-dimensional covariance matrices", 2004), since few clips do not give a
covariance; the study of the symbolic FMD (arXiv 2412.07948) says the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.metrics.frechet import Projection, frechet_distance

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

COMPONENTS = 12
FLOOR = 1.0  # of a feature's standard deviation in the reference


def ledoit_wolf(rows: Array) -> Array:
    """The shrunk covariance [d, d] of rows [n, d].

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(5, 20))  # fewer rows than dimensions
        >>> bool(np.linalg.eigvalsh(ledoit_wolf(rows)).min() > 0)  # and yet it can be inverted
        True
    """
    n, d = rows.shape
    centred = rows - rows.mean(0)
    sample = centred.T @ centred / n
    target = np.trace(sample) / d * np.eye(d)
    spread = ((sample - target) ** 2).sum()
    # Mean squared distance of the single rows' products from their mean, over n.
    noise = ((centred**2).sum(1) ** 2).sum() / n**2 - (sample**2).sum() / n
    share = min(max(noise, 0.0) / spread, 1.0) if spread > 0 else 1.0
    return (1 - share) * sample + share * target


def projection(reference: Array) -> Projection:
    """Standardise and reduce vectors as the reference says.

    Example:
        >>> import numpy as np
        >>> reference = np.random.default_rng(0).normal(size=(50, 30))
        >>> projection(reference)(reference).shape
        (50, 12)
    """
    components = min(COMPONENTS, reference.shape[1])
    return Projection(reference, components, FLOOR)


def filled(rows: Array, reference: Array) -> Array:
    """What a clip lacks (NaN) as the reference's mean; what all of it lack as 0.

    Example:
        >>> import numpy as np
        >>> filled(np.array([[np.nan, 1.0]]), np.array([[2.0, 0.0], [4.0, 0.0]])).tolist()
        [[3.0, 1.0]]
    """
    known = np.isfinite(reference)
    mean = np.where(known, reference, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.where(np.isfinite(rows), rows, mean)


def distance(real: Array, made: Array) -> float:
    """The distance of two sets of projected vectors; NaN with fewer than two in one.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(60, 3))
        >>> round(distance(rows, rows + [2, 0, 0]), 6)
        4.0
    """
    if min(len(real), len(made)) < 2:
        return float("nan")
    return frechet_distance(real.mean(0), ledoit_wolf(real), made.mean(0), ledoit_wolf(made))


def evaluate(reference: Array, estimate: Array) -> dict[str, float]:
    """All metrics of this module for two sets of feature vectors [n, d].

    Example:
        >>> import numpy as np
        >>> real = np.random.default_rng(0).normal(size=(60, 5))
        >>> evaluate(real, real)["symbolic_frechet"] < evaluate(real, real + 1)["symbolic_frechet"]
        True
    """
    whole, made = filled(reference, reference), filled(estimate, reference)
    project = projection(whole)
    return {"symbolic_frechet": distance(project(whole), project(made))}
