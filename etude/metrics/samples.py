"""Clip sets as samples: drawing clips and pieces, and what an estimate of n clips varies by.

Two rules hold for every metric. All sets of a table are measured at one n, the smallest set's: of
a larger one the mean over 40 draws of n clips is the estimate. And what is drawn for an interval
is a *unit*: a piece where the clips are of real music, a clip where they were generated.

Distances that are biased at small n have their intervals from subsets drawn without replacement,
not from the bootstrap, whose repeated rows make covariances too small and distances too large.
Subsets of b of N clips vary more than n clips do, and less since they overlap; their deviations
are scaled by sqrt(b / n) / sqrt(1 - b / N). For N = n and b = n / 2 that is 1: the delete-half
jackknife (Shao and Wu, Annals of Statistics 17, 1989; Politis, Romano and Wolf, Subsampling, 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raised when other clips are drawn

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ABOUT = "about/weights"  # in an .npz of embeddings: which weights of others made them
DRAWS = 40  # of n clips from a larger set
REPLICATES = 40
FEWEST_FOR_AN_INTERVAL = 4  # clips: halves of fewer have no spread
NORMAL_95 = 1.959963984540054


@dataclass
class Clips:
    """The embeddings of a clip set.

    Args:
        windows: [n, d], one row per window of audio.
        clips: the clip of each row [n].
        units: what each clip stands or falls with, by clip number: its piece (none: itself).
        names: of the clips, by number.
    """

    windows: Array
    clips: Index
    units: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> Index:
        """The numbers of clips that have windows."""
        return np.unique(self.clips)

    @property
    def count(self) -> int:
        """How many clips have windows."""
        return len(self.numbers)

    def rows(self, numbers: Index) -> Index:
        """The rows of some clips."""
        return np.flatnonzero(np.isin(self.clips, numbers))

    def draw(self, n: int, generator: np.random.Generator) -> Index:
        """The rows of n clips, drawn without replacement."""
        return self.rows(generator.choice(self.numbers, n, replace=False))

    def members(self) -> list[Index]:
        """The clips of each unit, units in the order of their first clip."""
        found: dict[str, list[int]] = {}
        for number in self.numbers:
            unit = self.units[number] if self.units else ""
            found.setdefault(unit or f"clip {number}", []).append(int(number))
        return [np.array(clips, dtype=np.int64) for clips in found.values()]

    def draw_units(self, n: int, generator: np.random.Generator) -> Index:
        """The rows of n clips: whole units in random order, each once; the last one may be cut."""
        members = self.members()
        order = generator.permutation(len(members))
        return self.rows(np.concatenate([members[i] for i in order])[:n])

    def resample_units(self, n: int, generator: np.random.Generator) -> Array:
        """How often each row counts in a bootstrap of units, of n clips or just above: [rows]."""
        members = self.members()
        times = np.zeros(int(self.clips.max()) + 1)
        drawn = 0
        while drawn < n:
            unit = members[int(generator.integers(len(members)))]
            times[unit] += 1
            drawn += len(unit)
        return times[self.clips]


@dataclass
class Estimate:
    """A figure, and replicates that vary about it as estimates of n clips do."""

    value: float
    replicates: Array
    note: str = ""
    lowest: float = float("-inf")  # that such a figure can be

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, by the replicates' standard deviation: 40 are too few for their outer quantiles.

        There is none where they do not vary (all clips in one cluster): that is no certainty.
        """
        if len(self.replicates) < 2 or np.ptp(self.replicates) < 1e-12:
            return None
        half = NORMAL_95 * float(self.replicates.std(ddof=1))
        return max(self.lowest, self.value - half), self.value + half

    def cells(self) -> dict[str, str]:
        """The cells of a tidy row."""
        found = {"value": f"{self.value:.6f}", "note": self.note}
        if self.interval is not None:
            low, high = self.interval
            found |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
        return found


def by_subsets(measure: Callable[[Index], float], clips: Clips, n: int) -> Estimate:
    """The estimate at n clips of a figure of rows, with replicates from subsets.

    Args:
        measure: the figure of some rows of `clips`.
    """
    total = clips.count
    if total == n:
        value = measure(np.arange(len(clips.windows)))
    else:
        generator = np.random.default_rng(0)
        value = float(np.mean([measure(clips.draw(n, generator)) for _ in range(DRAWS)]))
    note = "" if total == n else f"mean of {DRAWS} draws of {n} from {total} clips"
    if n < FEWEST_FOR_AN_INTERVAL:
        return Estimate(value, np.zeros(0), note)
    size = min(n, total // 2)
    found = np.array([measure(clips.draw_units(size, seeded(r))) for r in range(REPLICATES)])
    scale = np.sqrt(size / n / (1 - size / total))
    return Estimate(value, value + scale * (found - found.mean()), note)


def by_weights(measure: Callable[[Array], Array], clips: Clips, n: int) -> Estimate:
    """The estimate at n clips of an unbiased figure, with replicates from a bootstrap of units.

    Args:
        measure: the figures under several weightings of the rows [rows, r] -> [r].
    """
    total = clips.count
    rows = len(clips.windows)
    if total == n:
        plain, note = np.ones((rows, 1)), ""
    else:
        generator = np.random.default_rng(0)
        plain = np.zeros((rows, DRAWS))
        for column in range(DRAWS):
            plain[clips.draw(n, generator), column] = 1
        note = f"mean of {DRAWS} draws of {n} from {total} clips"
    drawn = REPLICATES if n >= FEWEST_FOR_AN_INTERVAL else 0
    again = [clips.resample_units(n, seeded(r)) for r in range(drawn)]
    found = measure(np.column_stack([plain, *again]))
    value, replicates = float(found[: plain.shape[1]].mean()), found[plain.shape[1] :]
    # A bootstrap in which one row alone is drawn has no pair of different rows.
    replicates = replicates[np.isfinite(replicates)]
    return Estimate(value, value + replicates - replicates.mean() if drawn else replicates, note)


def seeded(replicate: int) -> np.random.Generator:
    """The draws of a replicate: they hang on its number alone, so that two experiments' pair."""
    return np.random.default_rng([replicate, 20251])


def read_sets(paths: list[Path]) -> dict[str, Clips]:
    """The clip sets of some .npz of `embed_sets`."""
    sets = {}
    for path in paths:
        with np.load(path) as arrays:
            for name in (n for n in arrays.files if "/" not in n):
                about = ([str(x) for x in arrays[f"{name}/{key}"]] for key in ("units", "names"))
                sets[name] = Clips(arrays[name], arrays[f"{name}/clips"], *about)
    return sets


def read_about(path: Path | None) -> str:
    """Which weights of others made the embeddings of an .npz; empty where none did."""
    if path is None:
        return ""
    with np.load(path) as arrays:
        return str(arrays[ABOUT][0]) if ABOUT in arrays.files else ""


def replicate_rows(estimate: Estimate, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of replicates.csv."""
    for number, value in enumerate(estimate.replicates):
        yield about | {"replicate": number, "value": f"{value:.6f}"}
