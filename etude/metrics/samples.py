"""Clip sets as samples: drawing clips and pieces, and what a figure of n clips varies by.

At which n. What does not depend on n in the mean is measured on all clips that a set has (KAD,
FAD-infinity). What does (the Fréchet distance, MAD) can only be compared at one n: that of the
generated clips. Of a larger set the mean over 40 draws of n clips is the figure; a smaller set
keeps its own n, and its note says that chance alone makes it farther. No set is cut because
another is small.

Of which pieces. Clips of one piece are alike, so n clips of few pieces are farther from all music
than n clips of n pieces, which generated clips are. A draw therefore takes clips of as many pieces
as there are, of each in turn; its note says how many.

What an interval is about. The clips of the set: what other clips (of other pieces, where they are
of real music) would have given against the same reference. What is left out or resampled is a
*unit*: a piece where the clips are of real music, a clip where they were generated. The figures are
biased at small n, so this is no bootstrap, whose repeated rows make covariances too small, but the
delete-half jackknife (Shao and Wu, Annals of Statistics 17, 1989; Politis, Romano and Wolf,
Subsampling, 1999): of half of the units, by the same draws, the same figure. Subsets of b of N
units vary by (1/b - 1/N) where N vary by 1/N, hence the factor sqrt(b / (N - b)), 1 for halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

VERSION = 2  # raised when other clips are drawn

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ABOUT = "about/weights"  # in an .npz of embeddings: which weights of others made them
DRAWS = 40  # of n clips from a larger set
DRAWS_AGAIN = 20  # the same in each replicate: chance of the draw must not look like spread
REPLICATES = 40
FEWEST_FOR_AN_INTERVAL = 4  # units: halves of fewer have no spread
LEVEL = 0.95


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

    @cached_property
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

    @cached_property
    def groups(self) -> Index:
        """The number of each clip's unit, in the order of `numbers`: [count]."""
        names = [(self.units[i] if self.units else "") or f"clip {i}" for i in self.numbers]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    def draw(self, n: int, generator: np.random.Generator, among: Index | None = None) -> Index:
        """The numbers of n clips, without replacement, of as many units as there are.

        Args:
            among: positions in `numbers` that are drawn from (none: all).
        """
        places = np.arange(self.count) if among is None else among
        places = generator.permutation(places)
        groups = self.groups[places]
        # The first of each unit in the order of a shuffle, then the second of each, ...
        order = np.argsort(groups, kind="stable")
        first = np.searchsorted(groups[order], groups[order])
        turn = np.empty(len(places), dtype=np.int64)
        turn[order] = np.arange(len(places)) - first
        return self.numbers[places[np.argsort(turn, kind="stable")[:n]]]


@dataclass
class ReplicatedFigure:
    """A figure, and replicates that vary about it as figures of other such clips would.

    Args:
        n: of how many clips it is.
        freedom: degrees of freedom of their spread: units less one.
        deviation: where it is known better than by the replicates.
    """

    value: float
    replicates: Array
    note: str = ""
    lowest: float = float("-inf")  # that such a figure can be
    n: int = 0
    freedom: int = 0
    deviation: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, Student's t about the value: 40 replicates are too few for their outer quantiles.

        There is none where they do not vary (all clips in one cluster): that is no certainty.
        """
        if len(self.replicates) < 2 or np.ptp(self.replicates) < 1e-12 or not self.freedom:
            return None
        spread = self.deviation
        if spread is None:
            spread = float(self.replicates.std(ddof=1))
        half = float(stdtrit(self.freedom, 0.5 + LEVEL / 2)) * spread
        return max(self.lowest, self.value - half), self.value + half

    def add(self, *notes: str) -> None:
        """Put notes before its own; empty ones are none."""
        self.note = "; ".join(note for note in (*notes, self.note) if note)

    def cells(self) -> dict[str, str]:
        """The cells of a tidy row."""
        found = {"value": f"{self.value:.6f}", "note": self.note}
        if self.interval is not None:
            low, high = self.interval
            found |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
        return found


def by_subsets(measure: Callable[[Index], float], clips: Clips, n: int) -> ReplicatedFigure:
    """The figure of rows at n clips, or at all where there are fewer, with replicates.

    Args:
        measure: the figure of some rows of `clips`.

    Example:
        >>> import numpy as np
        >>> clips = Clips(np.arange(12.0)[:, None], np.arange(12))  # twelve clips of a window each
        >>> found = by_subsets(lambda rows: float(clips.windows[rows].mean()), clips, 12)
        >>> found.value
        5.5
    """
    groups, total = clips.groups, clips.count
    units = int(groups.max()) + 1
    n = min(n, total)

    def mean(draws: int, generator: np.random.Generator, among: Index) -> float:
        """Over draws; of no more clips than n there is one draw alone."""
        if len(among) <= n:
            return measure(clips.rows(clips.numbers[among]))
        drawn = (clips.draw(n, generator, among) for _ in range(draws))
        return float(np.mean([measure(clips.rows(numbers)) for numbers in drawn]))

    value = mean(DRAWS, np.random.default_rng(0), np.arange(total))
    note = drawn_from(n, total, units)
    if units < FEWEST_FOR_AN_INTERVAL:
        return ReplicatedFigure(value, np.zeros(0), note, n=n)
    size, found = units // 2, []
    for replicate in range(REPLICATES):
        generator = seeded(replicate)
        half = generator.permutation(units)[:size]
        found.append(mean(DRAWS_AGAIN, generator, np.flatnonzero(np.isin(groups, half))))
    again = np.array(found)
    scaled = value + np.sqrt(size / (units - size)) * (again - again.mean())
    return ReplicatedFigure(value, scaled, note, n=n, freedom=units - 1)


def drawn_from(n: int, total: int, units: int) -> str:
    """How a figure of n clips of a larger set was made; empty where all clips count.

    Example:
        >>> drawn_from(8, 20, 10)
        'mean of 40 draws of 8 clips of 8 pieces, from 20 of 10'
    """
    if n == total:
        return "" if units == total else f"{total} clips of {units} pieces"
    return f"mean of {DRAWS} draws of {n} clips of {min(n, units)} pieces, from {total} of {units}"


def resampled(groups: Index, count: int = REPLICATES) -> Array:
    """How often each clip counts in bootstraps of units: [clips, count].

    Args:
        groups: the unit of each clip.

    Example:
        >>> import numpy as np
        >>> resampled(np.array([0, 0, 1]), count=4).tolist()  # the clips of a piece go together
        [[1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 2.0, 1.0]]
    """
    units = int(groups.max()) + 1
    drawn = [seeded(r).integers(units, size=units) for r in range(count)]
    return np.stack([np.bincount(d, minlength=units)[groups] for d in drawn], 1).astype(float)


def seeded(replicate: int) -> np.random.Generator:
    """The draws of a replicate: they depend on its number alone.

    Example:
        >>> bool(seeded(3).random() == seeded(3).random())
        True
    """
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


def replicate_rows(estimate: ReplicatedFigure, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of replicates.csv.

    Example:
        >>> import numpy as np
        >>> list(replicate_rows(ReplicatedFigure(1.0, np.array([0.9])), {"clips": "real"}))
        [{'clips': 'real', 'replicate': 0, 'value': '0.900000'}]
    """
    for number, value in enumerate(estimate.replicates):
        yield about | {"replicate": number, "value": f"{value:.6f}"}
