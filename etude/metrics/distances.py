"""The four distances of every clip set to one reference, in one embedding.

Which row has a figure and which has a reason is decided here; what can go wrong with one set or
one metric costs that row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from etude.errors import UserError
from etude.metrics import frechet, kad, mad
from etude.metrics.samples import Clips, Estimate, by_subsets, by_weights

VERSION = 2  # raised when the figures change

METRICS = ("frechet_distance", "fad_infinity", "kad", "mad")
UNITS = {
    "frechet_distance": "distance",
    "fad_infinity": "distance",
    "kad": "100 MMD²",
    "mad": "nats",
}
NOT_NEGATIVE = ("frechet_distance", "mad")
# The others are estimates that chance may take below 0, where no distance is.
BELOW_0 = {
    "fad_infinity": "below 0 because it is extrapolated: read it as about 0",
    "kad": "below 0 because its estimate has no bias: read it as about 0",
}
CLUSTER_SEED = 0


class Yardstick:
    """A reference in one embedding, against which clip sets are measured.

    Args:
        reference: the held-out music.
        components, floor: of the projection; a model says them for its embedding (no components:
            rows are compared as they are).

    Raises:
        UserError: the reference is empty, not finite or too small.
    """

    def __init__(self, reference: Clips, components: int | None, floor: float) -> None:
        rows = reference.windows
        if not len(rows):
            raise UserError("there is no held-out music")
        if why := not_finite(reference):
            raise UserError(f"of the reference, {why}")
        if len(rows) <= (components or 1):
            raise UserError(
                f"the reference has {len(rows)} windows of audio, "
                f"more than {components or 1} are needed"
            )
        self.dimensions = rows.shape[1]
        self.project = frechet.Projection(rows, components, floor)
        self.rows = self.project(rows)
        self.frechet = frechet.Reference(self.rows)
        self._kernel: kad.Kernel | None = None

    @property
    def kernel(self) -> kad.Kernel:
        """The kernel of KAD, its width fixed by the reference."""
        if self._kernel is None:
            self._kernel = kad.Kernel(self.rows)
        return self._kernel

    def check(self, clips: Clips) -> None:
        """See that a set can be measured at all.

        Raises:
            UserError: it is of another dimension, or not finite.
        """
        if len(clips.windows) and clips.windows.shape[1] != self.dimensions:
            raise UserError(
                "the embeddings have different dimensions "
                f"({clips.windows.shape[1]}, the reference's {self.dimensions})"
            )
        if why := not_finite(clips):
            raise UserError(why)

    def measure(self, metric: str, clips: Clips, n: int) -> Estimate:
        """One of METRICS at n clips of a set.

        Raises:
            UserError: there are too few.
        """
        measure: Callable[[Clips, int], Estimate] = getattr(self, f"_{metric}")
        found = measure(self._projected(clips), n)
        if metric in NOT_NEGATIVE:
            found.lowest = 0.0
        if found.value < 0:
            found.note = "; ".join(x for x in (BELOW_0.get(metric), found.note) if x)
        return found

    def outliers(self, clips: Clips) -> list[tuple[str, float]]:
        """Each clip's own Fréchet distance, the farthest first; of no clips nothing.

        Raises:
            UserError: the set cannot be measured.
        """
        if not clips.count:
            return []
        self.check(clips)
        distances = self.frechet.prepare(self.project(clips.windows))
        found = frechet.per_clip(distances, clips.clips)
        names = clips.names or [str(number) for number in range(int(clips.clips.max()) + 1)]
        return sorted(((names[i], d) for i, d in found.items()), key=lambda x: (-x[1], x[0]))

    def _projected(self, clips: Clips) -> Clips:
        return Clips(self.project(clips.windows), clips.clips, clips.units, clips.names)

    def _frechet_distance(self, clips: Clips, n: int) -> Estimate:
        _at_least(2, fewest_rows(clips, n), "windows of audio", "a single one has no covariance")
        return by_subsets(self.frechet.prepare(clips.windows), clips, n)

    def _fad_infinity(self, clips: Clips, n: int) -> Estimate:
        _at_least(frechet.FEWEST_GROUPS, n, "clips", "a line through fewer subsets says nothing")
        distances = self.frechet.prepare(clips.windows)
        lines: list[frechet.Line] = []

        def measure(index: frechet.Index) -> float:
            lines.append(frechet.extrapolate(distances, index, clips.clips[index]))
            return lines[-1].value

        # A half of eight clips would be too few for a line of its own.
        small = n < 2 * frechet.FEWEST_GROUPS and clips.count < 2 * frechet.FEWEST_GROUPS
        if small:
            value = measure(np.arange(len(clips.windows)))
            estimate = Estimate(value, np.zeros(0), "too few clips for an interval")
        else:
            estimate = by_subsets(measure, clips, n)
        estimate.note = "; ".join(x for x in (str(lines[0]), estimate.note) if x)
        return estimate

    def _kad(self, clips: Clips, n: int) -> Estimate:
        _at_least(2, fewest_rows(clips, n), "windows of audio", "there is no pair of them")
        rows = clips.windows
        estimate = by_weights(lambda weights: self.kernel.distances(rows, weights), clips, n)
        width = f"bandwidth {self.kernel.bandwidth:.6g}, the reference's median distance"
        estimate.note = "; ".join(x for x in (width, estimate.note) if x)
        return estimate

    def _mad(self, clips: Clips, n: int) -> Estimate:
        few = fewest_rows(clips, n)
        _at_least(mad.FEWEST_ROWS, few, "windows of audio", "five clusters of a histogram")
        count = mad.clusters(min(len(self.rows), few))
        labels = mad.cluster(np.concatenate([self.rows, clips.windows]), count, CLUSTER_SEED)
        reference, own = np.split(labels, [len(self.rows)])
        q = mad.histogram(reference, count)
        estimate = by_subsets(lambda index: mad.mad(mad.histogram(own[index], count), q), clips, n)
        whole = mad.frontier_integral(mad.histogram(own, count), q)
        said = f"{count} clusters, frontier integral {whole:.4f}"
        estimate.note = "; ".join(x for x in (said, estimate.note) if x)
        return estimate


def fewest_rows(clips: Clips, n: int) -> int:
    """Windows that a draw of n clips has at the least."""
    return int(np.sort(np.unique(clips.clips, return_counts=True)[1])[:n].sum())


def not_finite(clips: Clips) -> str:
    """Which clips have embeddings that are no numbers, or nothing."""
    bad = np.unique(clips.clips[~np.isfinite(clips.windows).all(1)])
    if not len(bad):
        return ""
    names = [clips.names[i] if clips.names else f"number {i}" for i in bad[:3]]
    more = ", …" * (len(bad) > 3)
    return f"the embeddings of {len(bad)} clips are not finite ({', '.join(names)}{more})"


def _at_least(needed: int, there: int, what: str, why: str) -> None:
    if there < needed:
        raise UserError(f"{there} {what}, at least {needed} are needed: {why}")


def measure_sets(
    yardstick: Yardstick,
    sets: dict[str, Clips],
    notes: dict[str, str],
    metrics: Sequence[str] = METRICS,
) -> Iterator[tuple[str, str, int, Estimate | str]]:
    """(set, metric, n, figure or the reason why there is none) of every set and metric.

    Args:
        notes: why a set has no clips, by set.
    """
    n = min((clips.count for clips in sets.values() if clips.count), default=0)
    for name, clips in sets.items():
        for metric in metrics:
            found: Estimate | str = notes.get(name) or "no clips"
            if clips.count:
                try:
                    yardstick.check(clips)
                    found = yardstick.measure(metric, clips, n)
                except UserError as error:
                    found = error.what
            yield name, metric, min(n, clips.count), found


def tidy(found: Estimate | str) -> dict[str, Any]:
    """The cells of a row: figure, interval and note, or `n/a: why`."""
    return {"note": f"n/a: {found}"} if isinstance(found, str) else found.cells()
