"""Fréchet distance between two sets of embeddings (FAD: Kilgour et al., arXiv 1812.08466).

Conventions
    Embeddings are float [n, d], one row per window of audio. The distance is not divided by
    anything: it has the unit of a squared embedding, and only values of the same embedding and
    the same n may be compared, since small samples are biased upwards.

Metrics
    * `frechet_distance`: |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^1/2)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from etude.errors import UserError

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]


def validate(reference: Array, estimate: Array) -> None:
    """Check two sets of embeddings.

    Raises:
        UserError: not two-dimensional, of different dimension, fewer than 2 rows, not finite.
    """
    for name, rows in (("reference", reference), ("estimate", estimate)):
        if rows.ndim != 2:
            raise UserError(f"the {name} embeddings are not a table [n, d]", why=f"{rows.shape}")
        if len(rows) < 2:
            raise UserError(
                f"too few {name} embeddings for a Fréchet distance",
                why=f"{len(rows)} rows, at least 2 are needed for a covariance",
                do="give more or longer clips",
            )
        if not np.isfinite(rows).all():
            raise UserError(f"the {name} embeddings hold NaN or infinite values")
    if reference.shape[1] != estimate.shape[1]:
        raise UserError(
            "the embeddings have different dimensions",
            why=f"{reference.shape[1]} and {estimate.shape[1]}",
            do="embed both sets with the same model",
        )


def statistics(rows: Array) -> tuple[Array, Array]:
    """Mean [d] and covariance [d, d] (divided by n - 1)."""
    return rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False))


def frechet_distance(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
    """Distance of two Gaussians, by the eigenvalues of the symmetric S1^1/2 S2 S1^1/2.

    They equal those of S1 S2, whose square root is asked for, but are real and not negative by
    construction, unlike the general matrix square root's.
    """
    values, vectors = linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    products = linalg.eigvalsh(root @ cov2 @ root)
    cross = np.sqrt(products.clip(0)).sum()
    shift = mean1 - mean2
    return float(shift @ shift + np.trace(cov1) + np.trace(cov2) - 2 * cross)


class Projection:
    """Standardise and reduce embeddings, fitted on the reference.

    Bands that hardly vary in the reference would otherwise decide the distance alone, hence the
    floor of the standard deviation; few clips cannot fill many dimensions, hence the PCA.
    """

    def __init__(self, reference: Array, components: int, floor: float) -> None:
        self.mean = reference.mean(0)
        self.scale = np.maximum(reference.std(0), floor)
        standard = (reference - self.mean) / self.scale
        _, self.vectors = linalg.eigh(np.cov(standard, rowvar=False))
        self.vectors = self.vectors[:, ::-1][:, :components]

    def __call__(self, rows: Array) -> Array:
        """[n, d] -> [n, components]."""
        return ((rows - self.mean) / self.scale) @ self.vectors


def evaluate(reference: Array, estimate: Array) -> dict[str, float]:
    """All metrics of this module."""
    validate(reference, estimate)
    return {"frechet_distance": frechet_distance(*statistics(reference), *statistics(estimate))}
