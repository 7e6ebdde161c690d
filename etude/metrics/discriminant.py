"""Which of some sounds a clip is nearest to: a linear discriminant, and distances of rows.

Pooled covariance, shrunk by SHRINKAGE (Hastie et al., The Elements of Statistical Learning, 4.3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHRINKAGE = 0.1

Array = NDArray[np.float64]


def away(rows: Array, others: Array) -> Array:
    """The distances of rows [n, d] from others [m, d] -> [n, m].

    Example:
        >>> import numpy as np
        >>> away(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 1.0]])).tolist()
        [[5.0, 1.0]]
    """
    squares = (rows**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * rows @ others.T
    distances: Array = np.sqrt(squares.clip(0))
    return distances


class Discriminant:
    """A linear discriminant with a pooled, shrunk covariance; classes alike often.

    Args:
        classes: rows [n, d] by name.
    """

    def __init__(self, classes: dict[str, Array]) -> None:
        self.names = np.array(list(classes))
        rows = np.concatenate(list(classes.values())) if classes else np.zeros((0, 1))
        self.middle = rows.mean(0) if len(rows) else 0.0
        self.scale = np.maximum(rows.std(0), 1e-9) if len(rows) else 1.0
        self.means = np.stack([self._plain(r).mean(0) for r in classes.values()] or [np.zeros(1)])
        centred = [self._plain(r) - m for r, m in zip(classes.values(), self.means, strict=False)]
        within = np.concatenate(centred) if centred else np.zeros((1, 1))
        covariance = within.T @ within / max(len(within) - len(classes), 1)
        trace = np.trace(covariance) / len(covariance)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * max(trace, 1e-9) * np.eye(
            len(covariance)
        )
        self.inverse = np.linalg.inv(shrunk)

    def _plain(self, rows: Array) -> Array:
        plain: Array = (rows - self.middle) / self.scale
        return plain

    def __call__(self, rows: Array) -> NDArray[np.str_]:
        """The name of the nearest class of each row."""
        away = self._plain(rows)[:, None] - self.means[None]
        squares = np.einsum("ncd,de,nce->nc", away, self.inverse, away)
        found: NDArray[np.str_] = self.names[squares.argmin(1)]
        return found
