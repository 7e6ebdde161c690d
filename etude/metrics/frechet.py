"""Fréchet distance between two sets of embeddings (FAD: Kilgour et al., arXiv 1812.08466).

Conventions
    Embeddings are float [n, d], one row per window of audio; `groups` [n] says which clip (or
    piece) a row belongs to. A distance is not divided by anything: it has the unit of a squared
    embedding, and only values of the same embedding and the same n may be compared, since small
    samples are biased upwards, nearly as 1/n.

Metrics
    * `frechet_distance`: |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^1/2)
    * `fad_infinity`: the value at n = ∞ of a line in 1/n through distances of subsets
      (Chong and Forsyth, CVPR 2020; for FAD: Gui et al., arXiv 2311.01616). Subsets are of whole
      groups and without replacement: windows of one clip are alike, and rows drawn twice make a
      covariance too small. It may be negative.
    * `per_clip`: the distance of each clip's own windows, to find outliers (Gui et al.).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from etude.errors import UserError

VERSION = 3  # raised when the figures change

Array = NDArray[np.float64]
Index = NDArray[np.int64]

POINTS = 25  # of the line in 1/n
SMALLEST_SHARE = 0.25  # of the groups, in the smallest subset
FEWEST_GROUPS = 8  # a line through fewer says nothing


def validate(reference: Array, estimate: Array) -> None:
    """Check two sets of embeddings.

    Raises:
        UserError: not two-dimensional, of different dimension, fewer than 2 rows, not finite.

    Example:
        >>> import numpy as np
        >>> validate(np.zeros((8, 2)), np.zeros((9, 2)))  # silent: they can be compared
    """
    for name, rows in (("reference", reference), ("estimate", estimate)):
        if rows.ndim != 2:
            raise UserError(
                f"the {name} embeddings are not a table [n, d]",
                code="not-a-table-of-embeddings",
                why=f"{rows.shape}",
            )
        if len(rows) < 2:
            raise UserError(
                f"too few {name} embeddings for a Fréchet distance",
                code="too-few-samples",
                why=f"{len(rows)} rows, at least 2 are needed for a covariance",
                do="give more or longer clips",
            )
        if not np.isfinite(rows).all():
            raise UserError(f"the {name} embeddings hold NaN or infinite values", code="not-finite")
    if reference.shape[1] != estimate.shape[1]:
        raise UserError(
            "the embeddings have different dimensions",
            code="dimensions-differ",
            why=f"{reference.shape[1]} and {estimate.shape[1]}",
            do="embed both sets with the same model",
        )


def statistics(rows: Array) -> tuple[Array, Array]:
    """Mean [d] and covariance [d, d] (divided by n - 1).

    Example:
        >>> import numpy as np
        >>> mean, covariance = statistics(np.array([[0.0, 0.0], [2.0, 0.0]]))
        >>> mean.tolist(), covariance.tolist()
        ([1.0, 0.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    return rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False))


def frechet_distance(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
    """Distance of two Gaussians, by the eigenvalues of the symmetric S1^1/2 S2 S1^1/2.

    They equal those of S1 S2, whose square root is asked for, but are real and not negative by
    construction, unlike the general matrix square root's.

    Example:
        >>> import numpy as np
        >>> one = np.eye(2)
        >>> frechet_distance(np.zeros(2), one, np.array([3.0, 4.0]), one)  # equal shape: 3^2 + 4^2
        25.0
    """
    values, vectors = linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    products = linalg.eigvalsh(root @ cov2 @ root)
    cross = np.sqrt(products.clip(0)).sum()
    shift = mean1 - mean2
    return float(shift @ shift + np.trace(cov1) + np.trace(cov2) - 2 * cross)


class Reference:
    """A reference set, prepared once for any number of distances to it.

    Its covariance is kept as a factor F [k, d] with F'F = S, k = min(n, d): the triangle of a QR
    decomposition, or the centred rows themselves where they are fewer than dimensions. With
    B'B = S2 alike, tr((S1 S2)^1/2) is the sum of the singular values of B F': no square root of a
    d x d matrix, and for few rows no d x d matrix at all.
    """

    def __init__(self, rows: Array) -> None:
        self.mean = rows.mean(0)
        centred = (rows - self.mean) / np.sqrt(max(len(rows) - 1, 1))
        few = len(rows) <= rows.shape[1]
        self.factor: Array = centred if few else linalg.qr(centred, mode="r")[0][: rows.shape[1]]
        self.trace = float(np.sum(centred**2))

    def distance(self, rows: Array) -> float:
        """Distance of the Gaussian of some rows [n, d]; of one row: of a point."""
        return self.prepare(rows)(np.arange(len(rows)))

    def prepare(self, rows: Array) -> Distances:
        """For the distances of many subsets of the same rows."""
        return Distances(self, rows)


class Distances:
    """Distances of subsets of rows to one reference: `distances(index)`."""

    def __init__(self, reference: Reference, rows: Array) -> None:
        self.reference = reference
        # About their own mean: sums over subsets lose no digits to a set that is far away.
        self.mean = rows.mean(0)
        self.rows = rows - self.mean
        self.squares = np.einsum("ij,ij->i", self.rows, self.rows)
        self.turned = self.rows @ reference.factor.T

    def __call__(self, index: Index) -> float:
        """The distance of the rows of an index."""
        freedom = max(len(index) - 1, 1)
        mean = self.rows[index].mean(0)
        shift = mean + self.mean - self.reference.mean
        trace = max(float(self.squares[index].sum()) - len(index) * float(mean @ mean), 0.0)
        cross = self._nuclear(index, mean) / np.sqrt(freedom)
        return float(shift @ shift) + self.reference.trace + trace / freedom - 2 * cross

    def _nuclear(self, index: Index, mean: Array) -> float:
        """The sum of the singular values of the centred, turned rows [n, k] of an index.

        Of many rows by the eigenvalues of their k x k products, which is several times faster; of
        few, where one of them is 0 by centring, the square root of a rounded 0 would cost eight
        digits.
        """
        center = self.reference.factor @ mean
        if len(index) <= len(center):
            return float(linalg.svdvals(self.turned[index] - center).sum())
        products = self._products_of(index) - len(index) * np.outer(center, center)
        return float(np.sqrt(linalg.eigvalsh(products).clip(0)).sum())

    def _products_of(self, index: Index) -> Array:
        """The k x k products of rows: of most of them, those of all less those of the others."""
        others = np.delete(np.arange(len(self.turned)), index)
        no_row_twice = len(others) + len(index) == len(self.turned)
        if no_row_twice and len(others) < len(index):
            return self._products - _gram(self.turned[others])
        return _gram(self.turned[index])

    @cached_property
    def _products(self) -> Array:
        return _gram(self.turned)


def _gram(rows: Array) -> Array:
    return rows.T @ rows


@dataclass(frozen=True)
class InfinityFit:
    """A line through distances over 1/n: its value at n = ∞ and how well it fits."""

    value: float
    slope: float
    r2: float
    smallest: int
    largest: int
    points: int

    def __str__(self) -> str:
        return (
            f"a line in 1/n through {self.points} subsets of {self.smallest} to {self.largest}, "
            f"slope {self.slope:.4g}, R² {self.r2:.3f}"
        )


def fad_infinity(
    distances: Distances, groups: Index, points: int = POINTS, seed: int = 0
) -> InfinityFit:
    """The distance at n = ∞ of the rows that `distances` was made for.

    Args:
        groups: the clip or piece of each row; subsets are of whole ones, without replacement.

    Raises:
        UserError: fewer than 8 groups.

    Example:
        >>> import numpy as np
        >>> reference = np.random.default_rng(0).normal(size=(200, 4))
        >>> made = np.random.default_rng(1).normal(1, size=(80, 4))  # a deviation away, 4 times
        >>> line = fad_infinity(Reference(reference).prepare(made), np.arange(80))
        >>> bool(3 < line.value < 5)  # 4 between the distributions that these rows were drawn from
        True
    """
    return extrapolate(distances, np.arange(len(groups)), groups, points, seed)


def extrapolate(
    distances: Distances, index: Index, groups: Index, points: int = POINTS, seed: int = 0
) -> InfinityFit:
    """As `fad_infinity`, of the rows of an index alone; groups [len(index)].

    Example:
        >>> import numpy as np
        >>> made = np.random.default_rng(1).normal(1, size=(80, 4))
        >>> reference = Reference(np.random.default_rng(0).normal(size=(200, 4)))
        >>> half = np.arange(0, 80, 2)  # every second row, each a clip
        >>> bool(3 < extrapolate(reference.prepare(made), half, half).value < 5)
        True
    """
    names, numbers = np.unique(groups, return_inverse=True)
    total = len(names)
    if total < FEWEST_GROUPS:
        raise UserError(
            "too few clips for FAD-infinity",
            code="too-few-samples",
            why=f"{total}, at least {FEWEST_GROUPS} are needed",
            do="generate more clips",
        )
    smallest = max(FEWEST_GROUPS // 2, round(SMALLEST_SHARE * total))
    counts = np.linspace(smallest, total, points).astype(int)
    generator = np.random.default_rng(seed)
    values = []
    for count in counts:
        rank = generator.permutation(total)
        values.append(distances(index[rank[numbers] < count]))
    return _fit(counts, np.array(values))


def _fit(counts: Index, values: Array) -> InfinityFit:
    inverse = 1.0 / counts
    slope, value = np.polyfit(inverse, values, 1)
    spread = float(((values - values.mean()) ** 2).sum())
    missed = float(((values - value - slope * inverse) ** 2).sum())
    r2 = 1 - missed / spread if spread > 0 else 1.0
    ends = int(counts.min()), int(counts.max())
    return InfinityFit(float(value), float(slope), r2, *ends, points=len(counts))


def per_clip(distances: Distances, groups: Index) -> dict[int, float]:
    """The distance of each group's own rows; of a single window, that of a point.

    Example:
        >>> import numpy as np
        >>> reference = Reference(np.random.default_rng(0).normal(size=(200, 4)))
        >>> made = np.array([[0.0] * 4, [9.0] * 4])  # a clip amid the reference, and one far off
        >>> found = per_clip(reference.prepare(made), np.array([0, 1]))
        >>> bool(found[0] < found[1])
        True
    """
    return {int(g): distances(np.flatnonzero(groups == g)) for g in np.unique(groups)}


class Projection:
    """Standardise and reduce embeddings, fitted on the reference.

    Bands that hardly vary in the reference would otherwise decide the distance alone, hence the
    floor of the standard deviation; few clips cannot fill many dimensions, hence the PCA. Without
    `components` nothing is done: embeddings of pretrained networks are compared as they are.
    """

    def __init__(self, reference: Array, components: int | None, floor: float) -> None:
        self.plain = components is None
        if self.plain:
            return
        self.mean = reference.mean(0)
        self.scale = np.maximum(reference.std(0), floor)
        standard = (reference - self.mean) / self.scale
        _, self.vectors = linalg.eigh(np.atleast_2d(np.cov(standard, rowvar=False)))
        self.vectors = self.vectors[:, ::-1][:, :components]

    def __call__(self, rows: Array) -> Array:
        """[n, d] -> [n, components]."""
        return rows if self.plain else ((rows - self.mean) / self.scale) @ self.vectors


def evaluate(
    reference: Array, estimate: Array, groups: Index | None = None, seed: int = 0
) -> dict[str, float]:
    """All metrics of this module that are one figure; FAD-infinity where there are enough rows.

    Args:
        groups: the clip of each row of the estimate (none: each row is one).

    Example:
        >>> import numpy as np
        >>> real, made = (np.random.default_rng(seed).normal(size=(200, 4)) for seed in (0, 1))
        >>> sorted(evaluate(real, made))
        ['fad_infinity', 'frechet_distance']
        >>> name = "frechet_distance"
        >>> bool(evaluate(real, made)[name] < evaluate(real, made + 1)[name])
        True
    """
    validate(reference, estimate)
    distances = Reference(reference).prepare(estimate)
    figures = {"frechet_distance": distances(np.arange(len(estimate)))}
    groups = np.arange(len(estimate)) if groups is None else groups
    if len(np.unique(groups)) >= FEWEST_GROUPS:
        figures["fad_infinity"] = fad_infinity(distances, groups, seed=seed).value
    return figures
