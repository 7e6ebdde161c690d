"""The four distances of every clip set to one reference, in one embedding, and the user's own.

Which row has a figure and which has a reason is decided here; what goes wrong with one set or one
metric costs that row alone. `samples` says at which n each is measured.

    metric              n of the row            by unit (piece, or generated clip)
    frechet_distance    the generated clips'    clips of as many units as there are
    mad                 the generated clips'    the same
    one of your own     the generated clips'    the same
    fad_infinity        all clips of the set    subsets of whole units, line in their number
    kad                 all clips of the set    no pairs of one unit
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import stdtrit

from etude.errors import UserError
from etude.metrics import frechet, kad, kad_clips, mad
from etude.metrics.samples import (
    FEWEST_FOR_AN_INTERVAL,
    Clips,
    ReplicatedFigure,
    by_subsets,
    drawn_from,
    resampled,
)
from etude.metrics.space import Space
from etude.pool import Failed, tried

VERSION = 3  # raised when the figures change

METRICS = ("frechet_distance", "fad_infinity", "kad", "mad")
UNITS = {
    "frechet_distance": "distance",
    "fad_infinity": "distance",
    "kad": "100 MMD²",
    "mad": "nats",
}
NOT_NEGATIVE = ("frechet_distance", "mad")
# The others are estimates that chance may take below 0, where no distance can be.
BELOW_0 = {
    "fad_infinity": "below 0 because it is extrapolated: read it as about 0",
    "kad": "below 0 because its estimate has no bias: read it as about 0",
}
OF_FEWER = "not to be compared with figures of {} clips: fewer are farther"
CLUSTER_SEED = 0


class Yardstick:
    """A reference in one embedding, against which clip sets are measured.

    Args:
        reference: the held-out music.
        components, floor, weight: of `space.Space`; a model says them for its embedding (no
            components: rows are compared as they are).

    Attributes: own (the user's own distances by metric: see `registry.open_distances`).

    Raises:
        UserError: the reference is empty, not finite or too small.
    """

    own: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self, reference: Clips, components: int | None, floor: float, weight: float = 0.0
    ) -> None:
        rows = reference.windows
        if not len(rows):
            raise UserError("there is no held-out music", code="no-held-out-music")
        if why := not_finite(reference):
            raise UserError(f"of the reference, {why}", code="not-finite")
        if len(rows) <= (components or 1):
            raise UserError(
                f"the reference has {len(rows)} windows of audio, "
                f"more than {components or 1} are needed",
                code="too-few-samples",
            )
        self.dimensions = rows.shape[1]
        units, self.note = independent(reference)
        self.pieces = np.array(units)[reference.clips]
        self.project = Space(rows, components, floor, weight, self.pieces)
        # Not the projection of the reference: its own residuals are out of fold.
        self.rows = self.project.rows
        self.frechet = frechet.Reference(self.rows)

    @cached_property
    def kernel(self) -> kad.Kernel:
        """The kernel of KAD, its width fixed by the reference."""
        return kad.Kernel(self.rows)

    @cached_property
    def apart(self) -> kad_clips.Apart:
        """The reference whose pairs of one piece do not count."""
        return kad_clips.Apart(self.kernel, self.pieces)

    def tally(self, clips: Clips) -> kad_clips.Tally:
        """What KAD of a set is made of.

        Raises:
            UserError: the set cannot be measured, or has no pair of clips.
        """
        self.check(clips)
        _at_least(2, clips.count, "clips", "there is no pair of them")
        units, _ = independent(clips)
        return self.apart.tally(self.project(clips.windows), clips.clips, units)

    def check(self, clips: Clips) -> None:
        """Check that a set can be measured at all.

        Raises:
            UserError: it is of another dimension, or not finite.
        """
        if len(clips.windows) and clips.windows.shape[1] != self.dimensions:
            raise UserError(
                "the embeddings have different dimensions "
                f"({clips.windows.shape[1]}, the reference's {self.dimensions})",
                code="dimensions-differ",
            )
        if why := not_finite(clips):
            raise UserError(why, code="not-finite")

    def measure(self, metric: str, clips: Clips, n: int) -> ReplicatedFigure:
        """One of METRICS or `own` of a set: of n of its clips where it depends on n, else of all.

        Raises:
            UserError: there are too few, or a plugin failed.
        """
        if metric in self.own:
            return self._of_plugin(metric, clips, n)
        measure: Callable[[Clips, int], ReplicatedFigure] = getattr(self, f"_{metric}")
        found = measure(clips, n)
        if metric in NOT_NEGATIVE:
            found.lowest = 0.0
            if found.n < n:
                found.add(OF_FEWER.format(n))
        if found.value < 0:
            found.add(BELOW_0[metric])
        return found

    def _of_plugin(self, metric: str, clips: Clips, n: int) -> ReplicatedFigure:
        """A distance of the user's; whether it depends on n is not known, so it is at n."""
        rows = self.project(clips.windows)

        def measure(index: frechet.Index) -> float:
            found = tried(partial(self.own[metric].measure, self.rows), rows[index])
            if isinstance(found, Failed):
                raise UserError(found.reason, code="plugin-failed")
            if not np.isfinite(value := float(found)):
                raise UserError(f"its `measure` gave {value}", code="plugin-wrong-result")
            return value

        found = by_subsets(measure, clips, n)
        if found.n < n:
            found.add(OF_FEWER.format(n))
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

    def _frechet_distance(self, clips: Clips, n: int) -> ReplicatedFigure:
        _at_least(2, fewest_rows(clips, n), "windows of audio", "a single one has no covariance")
        return by_subsets(self.frechet.prepare(self.project(clips.windows)), clips, n)

    def _fad_infinity(self, clips: Clips, n: int) -> ReplicatedFigure:
        units = np.array(clips.groups)
        total, dimensions = int(units.max()) + 1, self.rows.shape[1]
        what = "clips" if total == clips.count else "pieces"
        _at_least(frechet.FEWEST_GROUPS, total, what, "a line through fewer subsets says nothing")
        # A line in 1/n holds where covariances have full rank; below it the bias is another.
        why = f"in fewer than the {dimensions} dimensions of the embedding no line in 1/n holds"
        _at_least(dimensions, total, what, why)
        distances = self.frechet.prepare(self.project(clips.windows))
        groups = units[np.searchsorted(clips.numbers, clips.clips)]
        lines: list[frechet.InfinityFit] = []

        def measure(index: frechet.Index) -> float:
            lines.append(frechet.extrapolate(distances, index, groups[index]))
            return lines[-1].value

        # A half of eight units would be too few for a line of its own.
        if total < 2 * frechet.FEWEST_GROUPS:
            value = measure(np.arange(len(clips.windows)))
            estimate = ReplicatedFigure(value, np.zeros(0), f"too few {what} for an interval")
            estimate.n = clips.count
        else:
            estimate = by_subsets(measure, clips, clips.count)
        estimate.add(str(lines[0]))
        return estimate

    def _kad(self, clips: Clips, n: int) -> ReplicatedFigure:
        tally = self.tally(clips)
        units = int(tally.groups.max()) + 1
        note = drawn_from(clips.count, clips.count, int(clips.groups.max()) + 1)
        estimate = ReplicatedFigure(float(tally.kad()[0]), np.zeros(0), note, n=clips.count)
        if units >= FEWEST_FOR_AN_INTERVAL:
            again = tally.kad(resampled(tally.groups))
            again = again[np.isfinite(again)]  # of one unit alone there is no pair
            estimate.replicates = estimate.value + again - again.mean()
            estimate.deviation, estimate.freedom = tally.variance() ** 0.5, units - 1
        width = f"bandwidth {self.kernel.bandwidth:.6g}, the reference's median distance"
        estimate.add(width, self._other_pieces(tally), self.note, independent(clips)[1])
        return estimate

    def _other_pieces(self, tally: kad_clips.Tally) -> str:
        """What the interval leaves out, since it moves all rows: the reference's own chance."""
        count = len(self.apart.sizes)
        if count < FEWEST_FOR_AN_INTERVAL:
            return ""
        half = float(stdtrit(count - 1, 0.975)) * tally.reference_variance() ** 0.5
        return f"other reference pieces than these {count}: ± {half:.3g}, not in the interval"

    def _mad(self, clips: Clips, n: int) -> ReplicatedFigure:
        few = fewest_rows(clips, n)
        _at_least(mad.FEWEST_ROWS, few, "windows of audio", "five clusters of a histogram")
        count = mad.clusters(min(len(self.rows), few))
        both = np.concatenate([self.rows, self.project(clips.windows)])
        labels = mad.cluster(both, count, CLUSTER_SEED)
        reference, own = np.split(labels, [len(self.rows)])
        q = mad.histogram(reference, count)
        estimate = by_subsets(lambda index: mad.mad(mad.histogram(own[index], count), q), clips, n)
        whole = mad.frontier_integral(mad.histogram(own, count), q)
        estimate.add(f"{count} clusters, frontier integral {whole:.4f}")
        return estimate


def independent(clips: Clips) -> tuple[list[str], str]:
    """The unit of each clip, by its number, and a note about it.

    Its piece; or, where all clips are of one piece, itself: then pairs of that piece count.

    Example:
        >>> import numpy as np
        >>> clips = Clips(np.zeros((3, 2)), np.arange(3), ["a", "a", "b"])  # of two pieces
        >>> independent(clips)
        (['a', 'a', 'b'], '')
    """
    last = int(clips.clips.max()) + 1
    own = [f"clip {number}" for number in range(last)]
    if not any(clips.units):
        return own, ""
    if int(clips.groups.max()) > 0:
        return [unit or name for unit, name in zip(clips.units, own, strict=False)], ""
    return own, "all clips are of one piece, and count as if of several: mind the bias"


def fewest_rows(clips: Clips, n: int) -> int:
    """Windows that a draw of n clips has at least.

    Example:
        >>> import numpy as np
        >>> clips = Clips(np.zeros((6, 2)), np.array([0, 0, 0, 1, 1, 2]))  # of 3, 2 and 1 windows
        >>> fewest_rows(clips, 2)
        3
    """
    return int(np.sort(np.unique(clips.clips, return_counts=True)[1])[:n].sum())


def not_finite(clips: Clips) -> str:
    """The clips whose embeddings are not finite, in words; empty if there are none.

    Example:
        >>> import numpy as np
        >>> not_finite(Clips(np.array([[1.0], [np.nan]]), np.arange(2), names=["one", "two"]))
        'the embeddings of 1 clips are not finite (two)'
    """
    bad = np.unique(clips.clips[~np.isfinite(clips.windows).all(1)])
    if not len(bad):
        return ""
    names = [clips.names[i] if clips.names else f"number {i}" for i in bad[:3]]
    more = ", …" * (len(bad) > 3)
    return f"the embeddings of {len(bad)} clips are not finite ({', '.join(names)}{more})"


def _at_least(needed: int, there: int, what: str, why: str) -> None:
    if there < needed:
        raise UserError(
            f"{there} {what}, at least {needed} are needed: {why}", code="too-few-samples"
        )


def measure_sets(
    yardstick: Yardstick,
    sets: dict[str, Clips],
    notes: dict[str, str],
    metrics: Sequence[str] = METRICS,
    like: str = "generated",
) -> Iterator[tuple[str, str, int, ReplicatedFigure | str]]:
    """(set, metric, n, figure or the reason why there is none) of every set and metric.

    Args:
        notes: why a set has no clips, by set.
        like: the set whose number of clips is that of figures that depend on it.
    """
    counts = {name: clips.count for name, clips in sets.items() if clips.count}
    n = counts.get(like) or min(counts.values(), default=0)
    for name, clips in sets.items():
        for metric in metrics:
            found: ReplicatedFigure | str = notes.get(name) or "no clips"
            if clips.count:
                try:
                    yardstick.check(clips)
                    found = yardstick.measure(metric, clips, n)
                except UserError as error:
                    found = error.what
            yield name, metric, clips.count if isinstance(found, str) else found.n, found


def tidy(found: ReplicatedFigure | str) -> dict[str, Any]:
    """The cells of a row: figure, interval and note, or `n/a: why`.

    Example:
        >>> tidy("too few clips")
        {'note': 'n/a: too few clips'}
    """
    return {"note": f"n/a: {found}"} if isinstance(found, str) else found.cells()
