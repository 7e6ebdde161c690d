"""Distances within a set and between two sets (MGEval: Yang and Lerch 2018), and how they overlap.

Of each feature: the distances between all pairs of real clips (intra), and between every real and
every made clip (inter), both as densities by a Gaussian kernel of Scott's width. If the made clips
are like the real ones, the two densities are one: the overlapped area is 1, KL(intra || inter) 0.
A scalar's distance is the absolute difference, a histogram's the Euclidean one.

Conventions
    Distances are put into 128 bins from 0 to the largest of all sets, and the kernel is laid over
    the bins (equal to a kernel estimate up to a bin's width). Clips that lack a feature are left
    out of it. At least 3 real clips and 2 made ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

BINS = 128
FLOOR = 1e-6  # of a density, per bin: KL stays finite


def pair_distances(first: Array, second: Array) -> Array:
    """Distances of all pairs of rows: scalars [n] or histograms [n, bins] to [n, m]."""
    if first.ndim == 1:
        return np.abs(first[:, None] - second[None])
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * first @ second.T
    return np.sqrt(squares.clip(0))


def density(histogram: Array, largest: float) -> Array:
    """A kernel estimate over the bins [BINS] of weights in them; adds up to 1.

    Scott's width (n to the power of -1/5 standard deviations), a bin at the least.
    """
    total = histogram.sum()
    centres = (np.arange(BINS) + 0.5) * largest / BINS
    mean = histogram @ centres / total
    deviation = np.sqrt(histogram @ (centres - mean) ** 2 / total)
    width = max(deviation * total**-0.2, largest / BINS)
    reach = np.exp(-0.5 * ((centres[:, None] - centres) / width) ** 2)
    smooth = reach @ histogram
    return smooth / smooth.sum()


@dataclass(frozen=True)
class Feature:
    """A feature's distances in bins.

    Attributes: largest distance; bins of real x real and real x made pairs (int, -1: no value).
    """

    largest: float
    intra: NDArray[np.int64]
    inter: NDArray[np.int64]

    @classmethod
    def of(cls, real: Array, made: Array, largest: float) -> Feature:
        """From values of the real and the made clips."""
        return cls(
            largest,
            _binned(pair_distances(real, real), largest),
            _binned(pair_distances(real, made), largest),
        )

    def compare(self, real: NDArray[np.int64], made: NDArray[np.int64]) -> tuple[float, float]:
        """Overlapped area and KL(intra || inter) for some of the clips, as indices.

        A clip that a bootstrap draws twice makes no pair with itself.
        """
        intra = self.intra[np.ix_(real, real)][real[:, None] < real[None]]
        inter = self.inter[np.ix_(real, made)].ravel()
        p, q = (np.bincount(b[b >= 0], minlength=BINS).astype(np.float64) for b in (intra, inter))
        if p.sum() < 3 or q.sum() < 3:
            return float("nan"), float("nan")
        if self.largest == 0:
            return 1.0, 0.0
        p, q = density(p, self.largest), density(q, self.largest)
        smooth_p, smooth_q = ((d + FLOOR) / (1 + BINS * FLOOR) for d in (p, q))
        divergence = (smooth_p * np.log(smooth_p / smooth_q)).sum()
        return float(np.minimum(p, q).sum()), float(divergence)


def _binned(distances: Array, largest: float) -> NDArray[np.int64]:
    valid = np.isfinite(distances)
    scale = BINS / largest if largest > 0 else 0.0
    bins = (np.where(valid, distances, 0.0) * scale).astype(np.int64).clip(max=BINS - 1)
    return np.where(valid, bins, -1)


def largest_distance(*values: Array) -> float:
    """The largest distance between any two clips of some sets; 0 where there is none."""
    pooled = np.concatenate(values)
    found = pair_distances(pooled, pooled)
    return float(np.nanmax(found)) if np.isfinite(found).any() else 0.0


def evaluate(real: Array, made: Array) -> dict[str, float]:
    """All metrics of this module for one feature: values [n] or histograms [n, bins]."""
    feature = Feature.of(real, made, largest_distance(real, made))
    area, divergence = feature.compare(np.arange(len(real)), np.arange(len(made)))
    return {"overlapped_area": area, "intra_inter_kl": divergence}
