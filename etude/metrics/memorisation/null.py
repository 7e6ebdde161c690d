"""What a score means: the scores that held-out real music has, and exact binomial intervals.

Conventions
    scores are float [n], higher is nearer to the training music; pieces has the piece of each.

Metrics
    * `Null.threshold`: the 99th percentile of the null; a clip above it is flagged.
    * `exact_interval`: Clopper and Pearson (1934).
    * `false_positives`: held-out clips above the threshold of the other half of the pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Array = NDArray[np.float64]

PERCENTILE = 0.99
MIN_CLIPS, MIN_PIECES = 300, 30  # fewer say nothing about a 99th percentile


@dataclass(frozen=True)
class Null:
    """Scores of held-out real clips [n] and the piece of each."""

    scores: Array
    pieces: list[str]

    @property
    def threshold(self) -> float:
        """The 99th percentile: at most 1 % of the null is above it; NaN without clips."""
        if not len(self.scores):
            return float("nan")
        return float(np.quantile(self.scores, PERCENTILE, method="higher"))

    @property
    def reason(self) -> str:
        """Why it decides nothing; empty where it does."""
        count = len(set(self.pieces))
        if len(self.scores) >= MIN_CLIPS and count >= MIN_PIECES:
            return ""
        return (
            f"the null has {len(self.scores)} held-out clips from {count} pieces, and needs "
            f"{MIN_CLIPS} from {MIN_PIECES}; give more held-out music"
        )

    def false_positives(self) -> tuple[int, int]:
        """(flagged, clips): each half of the pieces at the threshold of the other half."""
        names = sorted(set(self.pieces))
        side = np.array([names.index(piece) % 2 for piece in self.pieces], dtype=int)
        flagged = tried = 0
        for half in (0, 1):
            inside, other = self.scores[side == half], self.scores[side != half]
            if len(inside) and len(other):
                bound = np.quantile(other, PERCENTILE, method="higher")
                flagged += int((inside > bound).sum())
                tried += len(inside)
        return flagged, tried


def exact_interval(found: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval of a share, for example (0, 0.0119) for 0 of 308.

    Raises:
        ValueError: not 0 <= found <= n, or n = 0.

    Example:
        >>> low, high = exact_interval(0, 64)
        >>> low, round(high, 3)
        (0.0, 0.056)
    """
    if not 0 <= found <= n or n == 0:
        raise ValueError(f"{found} of {n} is no share")
    tail = (1 - level) / 2
    low = 0.0 if found == 0 else float(betaincinv(found, n - found + 1, tail))
    high = 1.0 if found == n else float(betaincinv(found + 1, n - found, 1 - tail))
    return low, high
