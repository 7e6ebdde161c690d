"""MAUVE audio divergence (MAD: Huang et al., arXiv 2503.16669), on k-means histograms.

Conventions
    Embeddings are float [n, d], one row per window of audio. The rows of both sets are clustered
    together; p and q are the shares of either set's rows in each cluster [k], smoothed by half a
    row per cluster (Krichevsky-Trofimov, as Pillutla et al., JMLR 2023, advise for few rows: an
    empty cluster of a small sample is no proof that nothing belongs there). k is a tenth of the
    smaller set's rows, as MAUVE chooses it. Embeddings come as they are, where MAUVE normalises
    their length: ours have the level in it.

Metrics
    * `mad`: -ln MAUVE; 0 for equal histograms, higher is farther
    * `mauve`: area under the divergence curve exp(-5 KL(q|r)), exp(-5 KL(p|r)), r = wp + (1-w)q
      (Pillutla et al., NeurIPS 2021)
    * `frontier_integral`: the divergences integrated over w in closed form (Liu et al., NeurIPS
      2021); 0 for equal histograms, 1 for disjoint ones
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import vq

from etude.errors import UserError
from etude.metrics.frechet import validate

VERSION = 2  # raised when the figures change

Array = NDArray[np.float64]
Index = NDArray[np.int64]

SCALING = 5.0  # of the divergences, before exp: MAUVE's
WEIGHTS = np.linspace(1e-6, 1 - 1e-6, 25)
SMOOTHING = 0.5
ROWS_PER_CLUSTER = 10
ITERATIONS, TRIALS = 50, 5
FEWEST_ROWS = 5 * ROWS_PER_CLUSTER  # two clusters part an odd clip from the rest, and no more


def clusters(rows: int) -> int:
    """How many clusters a histogram of this many rows has.

    Raises:
        UserError: fewer than 50 rows.

    Example:
        >>> clusters(1000)
        100
    """
    if rows < FEWEST_ROWS:
        raise UserError(
            "too few windows of audio for MAD",
            why=f"{rows}, at least {FEWEST_ROWS} are needed for a histogram of five clusters",
            do="give more or longer clips",
        )
    return round(rows / ROWS_PER_CLUSTER)


def cluster(rows: Array, count: int, seed: int = 0) -> Index:
    """The cluster of each row [n]: the best of five k-means, begun by k-means++.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[0.0], [0.1], [5.0], [5.1]])
        >>> found = cluster(rows, 2)
        >>> bool(found[0] == found[1]), bool(found[1] == found[2])
        (True, False)
    """
    best, labels = np.inf, np.zeros(len(rows), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for _ in range(TRIALS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty cluster: of silence, all rows are equal
            centres, found = vq.kmeans2(rows, count, ITERATIONS, minit="++", rng=generator)
        error = float(((rows - centres[found]) ** 2).sum())
        if error < best:
            best, labels = error, found.astype(np.int64)
    return labels


def histogram(labels: Index, count: int, smoothing: float = SMOOTHING) -> Array:
    """Shares of the clusters [k].

    Example:
        >>> import numpy as np
        >>> histogram(np.array([0, 0, 1]), 3, smoothing=0).round(2).tolist()
        [0.67, 0.33, 0.0]
    """
    found = np.bincount(labels, minlength=count) + smoothing
    return found / found.sum()


def divergence(p: Array, q: Array) -> Array:
    """Kullback-Leibler divergence KL(p|q) in nats of p [k] and each of q [..., k]: [...].

    Infinite where a q lacks what p has.

    Example:
        >>> import numpy as np
        >>> half = np.array([0.5, 0.5])
        >>> divergence(half, np.array([half, [1.0, 0.0]])).tolist()
        [0.0, inf]
    """
    there = p > 0
    with np.errstate(divide="ignore"):
        found: Array = (p[there] * np.log(p[there] / q[..., there])).sum(-1)
    return found


def mauve(p: Array, q: Array) -> float:
    """The area under the divergence curve of two histograms, 0 to 1.

    Example:
        >>> import numpy as np
        >>> half = np.array([0.5, 0.5])
        >>> round(mauve(half, half), 6), mauve(half, np.array([0.9, 0.1])) < 1
        (1.0, True)
    """
    mixtures = WEIGHTS[:, None] * p + (1 - WEIGHTS[:, None]) * q
    x = np.concatenate([[0.0], np.exp(-SCALING * divergence(q, mixtures)), [1.0]])
    y = np.concatenate([[1.0], np.exp(-SCALING * divergence(p, mixtures)), [0.0]])
    return 0.5 * (_area(x, y) + _area(y, x))


def _area(x: Array, y: Array) -> float:
    order = np.lexsort((-y, x))  # the curve falls: of equal x the higher y comes first
    return float(np.trapezoid(y[order], x[order]))


def frontier_integral(p: Array, q: Array) -> float:
    """Twice the integral of the divergences to the mixture over all mixtures, 0 to 1.

    Example:
        >>> import numpy as np
        >>> one, other = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
        >>> frontier_integral(one, one), round(frontier_integral(one, other), 3)
        (0.0, 0.5)
    """
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a == 0 or b == 0:
            total += (a + b) / 4
        elif abs(a - b) > 1e-8:
            total += (a + b) / 4 - a * b * np.log(a / b) / (2 * (a - b))
    return 2 * float(total)


def mad(p: Array, q: Array) -> float:
    """-ln MAUVE of two histograms, 0 or more.

    Example:
        >>> import numpy as np
        >>> half = np.array([0.5, 0.5])
        >>> round(mad(half, half), 6), mad(half, np.array([0.9, 0.1])) > 0
        (0.0, True)
    """
    return max(0.0, -float(np.log(mauve(p, q))))


def evaluate(reference: Array, estimate: Array, seed: int = 0) -> dict[str, float]:
    """All metrics of this module.

    Example:
        >>> import numpy as np
        >>> real, made = (np.random.default_rng(seed).normal(size=(100, 2)) for seed in (0, 1))
        >>> near, far = evaluate(real, made), evaluate(real, made + 3)
        >>> near["mauve"] > far["mauve"], near["mad"] < far["mad"]
        (True, True)
    """
    validate(reference, estimate)
    count = clusters(min(len(reference), len(estimate)))
    labels = cluster(np.concatenate([reference, estimate]), count, seed)
    q, p = (histogram(part, count) for part in np.split(labels, [len(reference)]))
    return {"mad": mad(p, q), "mauve": mauve(p, q), "frontier_integral": frontier_integral(p, q)}
