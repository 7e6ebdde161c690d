"""From what was measured of each clip to tidy rows: a value, its interval, its replicates.

Conventions
    Divergences are taken against the reference (the test split) at one number of clips, that of
    the smallest set, since of few clips they are biased upwards. Of a larger set the value is the
    mean over draws of this many. Means of what is measured of a clip are not biased: they are of
    all clips, and those of harmony and voices have a row for their distance to the reference's
    (etude.metrics.notes.means). The interval is a percentile bootstrap over pieces (clips that are
    of no piece stand for themselves), of both sides, moved so that its centre is the value
    (resampling adds a bias of its own). Replicate r draws by r alone, so replicates of two
    experiments pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes import frechet, means, overlap, recurrence
from etude.metrics.notes.chord_changes import read_changes
from etude.metrics.notes.counts import NEUROMUSIC
from etude.metrics.notes.drawing import write_figures
from etude.metrics.notes.means import FROM_REAL
from etude.metrics.notes.table import (
    COMPARED,
    LAST,
    NOTES,
    UNITS,
    Chosen,
    Index,
    Measured,
    compare,
    measured,
    unit_of,
)  # fmt: skip
from etude.metrics.notes.word2vec import read_vectors
from etude.metrics.tidy import COLUMNS, REPLICATE_COLUMNS, head
from etude.storage import read_json, write_csv

VERSION = 3  # raised when the figures change

REFERENCE = "reference"
WHOLE = -1  # in place of a replicate: all clips
DRAWS = 40
SHORT = f"form begins at {recurrence.FEWEST} whole bars; no clip has these, or no held-out piece"
SIGNED = ("dissonance", "bar_leap")  # may be negative
Array = NDArray[np.float64]


def draw_units(pieces: list[str], size: int, seed: list[int]) -> Index:
    """`size` clips of a bootstrap: pieces with replacement, all clips of each, until there are
    enough; indices, sorted.

    Example:
        >>> draw_units(["a", "a", "b", "b"], 4, [0]).tolist()
        [2, 2, 3, 3]
    """
    of_piece: dict[str, list[int]] = {}
    for index, piece in enumerate(pieces):
        of_piece.setdefault(piece, []).append(index)
    groups = list(of_piece.values())
    chosen = np.random.default_rng(seed).integers(0, len(groups), size)
    found: list[int] = []
    for group in chosen:
        found += groups[group]
        if len(found) >= size:
            break
    return np.sort(np.array(found[:size], dtype=np.int64))


class SetScores:
    """All sets against the reference."""

    def __init__(self, sets: dict[str, Measured], smoothing: str, compat: str) -> None:
        self.sets, self.real = sets, sets[REFERENCE]
        self.how = {"smoothing": smoothing, "compat": compat}
        filled = [s for s in sets.values() if len(s)]
        self.size = min(map(len, filled), default=0)
        self.harmony = min((len(s.reduced) for s in filled if len(s.reduced)), default=0)
        if len(self.real) > 1:
            whole = frechet.filled(self.real.frechet_rows, self.real.frechet_rows)
            project = frechet.projection(whole)
            for some in filled:
                rows = frechet.filled(some.frechet_rows, self.real.frechet_rows)
                some.projected = project(rows)
        self.names = [*UNITS, *self.real.vectors]
        of = {id(s): [values(s, name) for name in self.names] for s in filled}
        each = zip(*of.values(), strict=True)
        self.largest = [overlap.largest_distance(some) for some in each]
        self.features = of
        self.intra_bins = self._bins(self.real)
        self.intra: dict[int, Any] = {}  # densities, by replicate: the same for all sets

    def drawn_means(self, name: str, count: int) -> Array:
        """Means of all scalars in bootstrap replicates, [count, features]; of one piece NaN."""
        some = self.sets[name]
        if len(set(some.pieces)) < 2:
            return np.full((count, len(UNITS)), np.nan)
        weights = means.drawn_weights(some.pieces, count, int(name != REFERENCE))
        return means.weighted_means(some.scalars, weights)

    def _bins(self, made: Measured) -> Index:
        return overlap.binned(self.features[id(self.real)], self.features[id(made)], self.largest)

    def replicates(self, name: str, count: int) -> Iterator[dict[str, float]]:
        """The figures of a set in bootstrap replicates."""
        made = self.sets[name]
        bins = self._bins(made)
        for r in range(count):
            i = self._resampled(self.real, len(self.real), [r, 0])
            yield self._compare(made, bins, r, i, self._resampled(made, self.size, [r, 1]))

    def _resampled(self, some: Measured, size: int, seed: list[int]) -> Chosen:
        reduced = some.reduced
        size_h = len(reduced) if some is self.real else min(self.harmony, len(reduced))
        pieces = [some.pieces[k] for k in reduced]
        harmony = reduced[draw_units(pieces, size_h, seed)] if pieces else reduced
        return Chosen(draw_units(some.pieces, min(size, len(some)), seed), harmony)

    def value(self, name: str) -> dict[str, float]:
        """The figures of a set: of all clips, or the mean over draws of a larger set's."""
        made = self.sets[name]
        bins = self._bins(made)
        everything = Chosen(np.arange(len(self.real)), self.real.reduced)
        draws = 1 if len(made) <= self.size else DRAWS
        generator = np.random.default_rng(0)
        found = [
            self._compare(made, bins, WHOLE, everything, self._drawn(made, generator))
            for _ in range(draws)
        ]
        return {k: float(np.mean([d.get(k, np.nan) for d in found])) for k in found[0]}

    def _drawn(self, made: Measured, generator: np.random.Generator) -> Chosen:
        """Without replacement; all where there are no more."""
        clips = generator.choice(len(made), min(self.size, len(made)), replace=False)
        size = min(self.harmony, len(made.reduced))
        harmony = generator.choice(made.reduced, size, replace=False) if size else made.reduced
        return Chosen(np.sort(clips), np.sort(harmony))

    def _compare(
        self, made: Measured, bins: Index, replicate: int, i: Chosen, j: Chosen
    ) -> dict[str, float]:
        found = compare(self.real, made, i, j, **self.how)
        if replicate not in self.intra:
            self.intra[replicate] = overlap.intra_densities(self.intra_bins, i.clips)
        inter = overlap.inter_densities(bins, i.clips, j.clips)
        areas, divergences = overlap.overlap_and_divergence(self.intra[replicate], inter)
        for name, area, divergence in zip(self.names, areas, divergences, strict=True):
            found |= {f"{name}_overlap": float(area), f"{name}_intra_inter_kl": float(divergence)}
        return found


def values(of: Measured, name: str) -> Any:
    """A feature of each clip: scalars [n] or histograms [n, bins]."""
    return of.scalars[:, list(UNITS).index(name)] if name in UNITS else of.vectors[name]


@dataclass(frozen=True)
class NotesFigure:
    """A figure of a set: value, replicates (some may be NaN), n, note."""

    value: float
    replicates: Array
    n: int
    note: str = ""


def mean_figures(comparison: SetScores, name: str, count: int) -> Iterator[tuple[str, NotesFigure]]:
    """Means of all clips of a set, and how far those of harmony and voices are from real ones."""
    made, real = comparison.sets[name], comparison.real
    value = means.mean_of(made.scalars)
    held_out = means.mean_of(real.scalars)
    drawn = comparison.drawn_means(name, count)
    apart = drawn - comparison.drawn_means(REFERENCE, count)
    known = np.isfinite(made.scalars).sum(0).tolist()
    for k, (metric, n) in enumerate(zip(UNITS, known, strict=True)):
        yield metric, NotesFigure(float(value[k]), drawn[:, k], n, NOTES.get(metric, ""))
        if metric in COMPARED and made is not real:
            difference = float(value[k] - held_out[k])
            yield metric + FROM_REAL, NotesFigure(*means.distance(difference, apart[:, k]), n)


def distance_figures(
    comparison: SetScores, name: str, count: int
) -> Iterator[tuple[str, NotesFigure]]:
    """Divergences, overlaps and the Fréchet distance, at one number of clips."""
    made = comparison.sets[name]
    drawn = list(comparison.replicates(name, count)) if len(set(made.pieces)) > 1 else []
    for metric, value in comparison.value(name).items():
        harmonic = metric.startswith("harmony")
        available = len(made.reduced) if harmonic else len(made)
        n = min(comparison.harmony if harmonic else comparison.size, available)
        note = f"mean of {DRAWS} draws of {n} from {available} clips" if available > n else ""
        replicates = np.array([d.get(metric, np.nan) for d in drawn], dtype=np.float64)
        yield metric, NotesFigure(value, replicates, n, note)


def rows_of_set(
    comparison: SetScores, name: str, count: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tidy rows of a set, and those of its replicates; what is demoted comes last."""
    found = dict(mean_figures(comparison, name, count))
    if name != REFERENCE:
        found |= dict(distance_figures(comparison, name, count))
    rows, replicates = [], []
    for metric, figure in sorted(found.items(), key=lambda item: item[0].startswith(LAST)):
        row = {"clips": name, "metric": metric, "unit": unit_of(metric), "n": figure.n}
        if not math.isfinite(figure.value):
            why = "infinite: a bin is empty" if math.isinf(figure.value) else _without(metric)
            rows.append(row | {"note": f"n/a: {why}"})
            continue
        row |= {"value": f"{figure.value:.6f}", "note": figure.note}
        if between := means.interval(figure.value, figure.replicates):
            low, high = (_possible(metric, end) for end in between)
            row |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
        rows.append(row)
        replicates += [
            {"metric": metric, "clips": name, "replicate": r, "value": f"{x:.6f}"}
            for r, x in enumerate(figure.replicates) if math.isfinite(x)
        ]  # fmt: skip
    return rows, replicates


def _without(metric: str) -> str:
    """Why a figure has no value."""
    wants = {
        "voice_crossing": "it needs tracks, in these clips and in the held-out music",
        "bar_leap": "it needs a bar line within the clip",
        "self_similarity": "it needs clips longer than a bar",
        "known_changes": "no chord changes within a clip",
        **dict.fromkeys(recurrence.UNITS, SHORT),
    }
    return wants.get(metric.removesuffix(FROM_REAL), "no clip has a value")


def _possible(metric: str, end: float) -> float:
    """The end of an interval within what the figure can be (most are not negative)."""
    unit = unit_of(metric)
    if metric in SIGNED:
        return end
    if unit == "cosine":
        return min(max(end, -1.0), 1.0)
    return min(max(end, 0.0), 1.0) if unit == "share" else max(end, 0.0)


def counted(name: str, made: Measured) -> Iterator[dict[str, Any]]:
    """How many clips were dropped for which reason, and words without a vector."""
    total = len(made) + sum(made.dropped.values())
    for why, count in made.dropped.items():
        yield {"clips": name, "metric": f"clips_{why}", "unit": "clips", "value": count, "n": total}
    bars = int(made.counts["harmony"].sum())
    row = {"clips": name, "metric": "unknown_words", "unit": "bars", "n": bars}
    yield row | {"value": made.unknown}
    for kind, distances in made.distances.items():
        dropped = int((~np.isfinite(distances)).sum())
        row = {"clips": name, "metric": f"{kind}_distances_dropped", "unit": "clips"}
        yield row | {"value": dropped, "n": len(made)}


def score_sets(
    sets: dict[str, Measured], settings: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All rows of some sets, the reference among them, and the replicates."""
    real = sets[REFERENCE]
    rows: list[dict[str, Any]] = []
    replicates: list[dict[str, Any]] = []
    comparison = SetScores(sets, settings["smoothing"], settings["compat"]) if len(real) else None
    for name, made in sets.items():
        rows += counted(name, made)
        why = "" if len(made) else made.note or "no clip has notes"
        if not len(real):
            why = why or real.note or "there is no held-out music with notes"
        if why or comparison is None:
            rows.append({"clips": name, "metric": "symbolic", "note": f"n/a: {why}"})
        else:
            more, drawn = rows_of_set(comparison, name, settings["replicates"])
            rows += more
            replicates += drawn
    return rows, replicates


def read_measured(
    generated: Path, baselines: Path, vectors: Path, changes: Path, compat: str
) -> dict[str, Measured]:
    """All sets of an experiment's draw."""
    words, known = read_vectors(vectors), read_changes(changes)
    found = read_json(baselines) | read_json(generated)
    empty = {"clips": [], "dropped": {}, "note": ""}
    found = {REFERENCE: found.pop(REFERENCE, empty)} | found
    return {
        name: measured(rows, words, known, compat=compat, real=name == REFERENCE)
        for name, rows in found.items()
    }


def write_symbolic(
    experiment: Any,
    names: Mapping[str, str],
    *,
    settings: Mapping[str, Any],
    generated: Path,
    baselines: Path,
    vectors: Path,
    changes: Path,
    packed: Path | None,
    table: Path,
    replicates: Path,
    figures: Path,
) -> None:
    """All symbolic figures of one experiment, training seed and draw.

    Args:
        names: the wildcards: experiment and clips (seed-S/draw-D).
        settings: evaluation.symbolic.
    """
    compat = settings["compat"] if settings["compat"] == NEUROMUSIC else ""
    sets = read_measured(generated, baselines, vectors, changes, compat)
    rows, drawn = score_sets(sets, {**settings, "compat": compat})
    common = head(experiment, names["experiment"], names["clips"], packed)
    write_figures(sets, list(read_vectors(vectors)), figures, settings["smoothing"], compat)
    write_csv(replicates, REPLICATE_COLUMNS, drawn)
    write_csv(table, COLUMNS, (common | row for row in rows))
