"""Nearest neighbours in the space of an embedding.

Conventions
    windows are float [n, d], those of one clip in order; a clip's index per window [n].

Metrics
    * `Neighbours.search`: for each clip the cosine with the nearest training window, the mean over
      LENGTH neighbouring windows of the clip, the best such mean. Dimensions are standardised by
      the training windows first, deviations of nearly constant ones held up by a floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from etude.metrics.memorisation.catalogue import unit

VERSION = 1  # raised when scores change

Array = NDArray[np.floating]

LENGTH = 3  # windows of a clip that must be near at once
BLOCK = 2**18  # training windows in memory as float32 beside the index's own


@dataclass(frozen=True)
class NearestWindow:
    """The nearest training window: score -1 to 1, its index, the clip's own window."""

    score: float
    window: int
    at: int


class Neighbours:
    """Training windows [n, d], standardised and of length 1.

    Raises:
        ValueError: no windows, or some that are not finite.
    """

    def __init__(self, windows: Array, floor: float = 0.0) -> None:
        if not len(windows):
            raise ValueError("there are no training windows")
        if not np.isfinite(windows).all():
            raise ValueError("training embeddings are not finite")
        self.mean = windows.mean(0, dtype=np.float64)
        deviation = np.maximum(windows.std(0, dtype=np.float64), max(floor, 1e-9))
        self.scale = 1 / deviation
        self.index = faiss.IndexFlatIP(windows.shape[1])
        for first in range(0, len(windows), BLOCK):
            self.index.add(self._standard(windows[first : first + BLOCK]))

    def _standard(self, windows: Array) -> NDArray[np.float32]:
        return unit(((windows - self.mean) * self.scale).astype(np.float32))

    def search(
        self, windows: Array, clips: NDArray[np.int64], count: int
    ) -> list[NearestWindow | None]:
        """The nearest of each of `count` clips; None for one without (finite) windows.

        Raises:
            ValueError: windows of another dimension.
        """
        if len(windows) and windows.shape[1] != len(self.mean):
            raise ValueError(f"embeddings of {windows.shape[1]} and {len(self.mean)} dimensions")
        found: list[NearestWindow | None] = [None] * count
        finite = np.isfinite(windows).all(1) if len(windows) else np.zeros(0, bool)
        kept = np.flatnonzero(finite)
        if not len(kept):
            return found
        scores, nearest = (x[:, 0] for x in self.index.search(self._standard(windows[kept]), 1))
        owners = clips[kept]
        for clip in np.unique(owners):
            mine = np.flatnonzero(owners == clip)
            length = min(LENGTH, len(mine))
            means = np.convolve(scores[mine], np.full(length, 1 / length), "valid")
            at = int(means.argmax())
            best = at + int(scores[mine][at : at + length].argmax())
            found[int(clip)] = NearestWindow(float(means[at]), int(nearest[mine[best]]), best)
        return found
