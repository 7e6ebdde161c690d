"""Distances within a set and between two sets (MGEval: Yang and Lerch 2018), and how they overlap.

Of each feature: the distances between all pairs of real clips (intra), and between every real and
every made clip (inter), both as densities by a Gaussian kernel of Scott's width. If the made clips
are like the real ones, the two densities are one: the overlapped area is 1, KL(intra || inter) 0.
A scalar's distance is the absolute difference, a histogram's the Euclidean one.

Conventions
    Distances are put into 64 bins from 0 to the largest of all sets, and the kernel is laid over
    the bins (a kernel estimate up to a bin's width). Clips that lack a feature are left
    out of it. At least 3 real clips and 2 made ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]
Index = NDArray[np.int64]

BINS = 64
FLOOR = 1e-6  # of a density, per bin: KL stays finite
LEAST = 3  # pairs of clips
_APART = np.abs(np.arange(BINS)[:, None] - np.arange(BINS))


def pair_distances(first: Array, second: Array) -> Array:
    """Distances of all pairs of rows: scalars [n] or histograms [n, bins] to [n, m].

    Example:
        >>> import numpy as np
        >>> pair_distances(np.array([0.0, 1.0]), np.array([3.0])).tolist()
        [[3.0], [2.0]]
    """
    if first.ndim == 1:
        return np.abs(first[:, None] - second[None])
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * first @ second.T
    return np.sqrt(squares.clip(0))


def largest_distance(values: Sequence[Array]) -> float:
    """The largest distance between any two clips of some sets; 0 where there is none.

    Example:
        >>> import numpy as np
        >>> largest_distance([np.array([1.0, 4.0]), np.array([9.0])])
        8.0
    """
    pooled = np.concatenate(values)
    found = pair_distances(pooled, pooled)
    return float(np.nanmax(found)) if np.isfinite(found).any() else 0.0


def binned(first: Sequence[Array], second: Sequence[Array], largest: Sequence[float]) -> Index:
    """The bin of each pair's distance, of each feature: int64 [features, n, m].

    BINS where a clip lacks the feature. Bins of feature f are numbered from f x (BINS + 1) on.

    Example:
        >>> import numpy as np
        >>> real, made = np.array([0.0, 1.0]), np.array([0.0, 4.0])
        >>> binned([real], [made], [4.0])[0].tolist()  # of 64 bins up to the largest distance, 4
        [[0, 63], [16, 48]]
    """
    found = []
    for f, (a, b, most) in enumerate(zip(first, second, largest, strict=True)):
        distances = pair_distances(a, b)
        valid = np.isfinite(distances)
        scale = BINS / most if most > 0 else 0.0
        bins = (np.where(valid, distances, 0.0) * scale).astype(np.int64).clip(max=BINS - 1)
        found.append(np.where(valid, bins, BINS) + f * (BINS + 1))
    return np.stack(found)


def densities(bins: Index) -> Array:
    """A kernel estimate of each feature's distances, [features, BINS], each adding up to 1.

    Scott's width (n to the power of -1/5 standard deviations), a bin at least. NaN for a
    feature that fewer than 3 pairs have.

    Args:
        bins: of `binned`, [features, pairs].

    Example:
        >>> import numpy as np
        >>> found = densities(np.array([[10, 10, 12, 14]]))
        >>> round(float(found.sum()), 6), int(found.argmax())
        (1.0, 10)
    """
    size = len(bins) * (BINS + 1)
    histogram = np.bincount(bins.ravel(), minlength=size).reshape(-1, BINS + 1)[:, :BINS]
    total = histogram.sum(1)
    enough = total >= LEAST
    place = np.arange(BINS)
    mean = histogram @ place / np.maximum(total, 1)
    square = histogram @ place**2 / np.maximum(total, 1)
    deviation = np.sqrt((square - mean**2).clip(0))
    width = np.maximum(deviation * np.maximum(total, 1) ** -0.2, 1.0)
    kernel = np.exp(-0.5 * (place / width[:, None]) ** 2)
    smooth = np.einsum("fab,fb->fa", kernel[:, _APART], histogram.astype(np.float64))
    smooth[~enough] = np.nan
    return smooth / smooth.sum(1, keepdims=True)


def intra_densities(bins: Index, clips: Index) -> Array:
    """Of the pairs of some real clips; a clip that a bootstrap draws twice is no pair of itself.

    Example:
        >>> import numpy as np
        >>> values = np.array([0.0, 1.0, 2.0, 3.0])
        >>> bins = binned([values], [values], [3.0])
        >>> found = intra_densities(bins, np.arange(4))  # three pairs are 1 apart, two 2, one 3
        >>> int(found.argmax())
        24
    """
    pairs = np.triu_indices(len(clips), 1)
    first, second = clips[pairs[0]], clips[pairs[1]]
    other = first != second
    return densities(bins[:, first[other], second[other]])


def inter_densities(bins: Index, real: Index, made: Index) -> Array:
    """Of all pairs of some real and some made clips.

    Example:
        >>> import numpy as np
        >>> real, made = np.array([0.0, 1.0, 2.0]), np.array([9.0, 10.0])
        >>> bins = binned([real], [made], [10.0])
        >>> found = inter_densities(bins, np.arange(3), np.arange(2))
        >>> int(found.argmax())  # most pairs are 8 or 9 apart, of 10: bins 51 and 57
        54
    """
    return densities(bins[:, real[:, None], made[None]].reshape(len(bins), -1))


def overlap_and_divergence(intra: Array, inter: Array) -> tuple[Array, Array]:
    """Overlapped area and KL(intra || inter) of each feature: [features].

    Example:
        >>> import numpy as np
        >>> flat, half = np.full((1, BINS), 1 / BINS), np.zeros((1, BINS))
        >>> half[:, : BINS // 2] = 2 / BINS  # on one half of the range alone
        >>> area, divergence = overlap_and_divergence(half, flat)
        >>> area.round(2).tolist(), divergence.round(3).tolist()  # ln 2
        ([0.5], [0.693])
    """
    p, q = ((d + FLOOR) / (1 + BINS * FLOOR) for d in (intra, inter))
    return np.minimum(intra, inter).sum(1), (p * np.log(p / q)).sum(1)


def evaluate(real: Array, made: Array) -> dict[str, float]:
    """All metrics of this module for one feature: values [n] or histograms [n, bins].

    Example:
        >>> import numpy as np
        >>> real = np.random.default_rng(0).normal(size=40)
        >>> near, far = evaluate(real, real + 0.1), evaluate(real, real + 9)
        >>> near["overlapped_area"] > far["overlapped_area"]
        True
    """
    largest = [largest_distance([real, made])]
    i, j = np.arange(len(real)), np.arange(len(made))
    intra = intra_densities(binned([real], [real], largest), i)
    area, divergence = overlap_and_divergence(
        intra, inter_densities(binned([real], [made], largest), i, j)
    )
    return {"overlapped_area": float(area[0]), "intra_inter_kl": float(divergence[0])}
