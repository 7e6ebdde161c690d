"""From what was measured of each clip to tidy rows: a value, its interval, its replicates.

Conventions
    Every set is compared with the reference (the test split) at one number of clips, that of the
    smallest set: divergences of few clips are biased upwards. Of a larger set the value is the mean
    over draws of so many. The interval is a percentile bootstrap over pieces (clips that are of no
    piece stand for themselves), of both sides, moved so that its centre is the value (resampling
    adds a bias of its own). Replicate r draws by r alone, so replicates of two experiments pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etude.metrics.notes import frechet, overlap
from etude.metrics.notes.counts import NEUROMUSIC
from etude.metrics.notes.drawing import write_figures
from etude.metrics.notes.table import UNITS, Chosen, Index, Measured, compare, measured, unit_of
from etude.metrics.notes.word2vec import read_vectors
from etude.metrics.score import COLUMNS, config_hash
from etude.storage import read_json, write_csv

VERSION = 1  # raised when the figures change

REPLICATE_COLUMNS = ["embedding", "metric", "clips", "replicate", "value"]
REFERENCE = "reference"
WHOLE = -1  # in place of a replicate: all clips
DRAWS = 40


def draw_units(pieces: list[str], size: int, seed: list[int]) -> Index:
    """`size` clips of a bootstrap: pieces with replacement, all clips of each, until there are
    enough; indices, sorted.
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


class Comparison:
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
        areas, divergences = overlap.compare(self.intra[replicate], inter)
        for name, area, divergence in zip(self.names, areas, divergences, strict=True):
            found |= {f"{name}_overlap": float(area), f"{name}_intra_inter_kl": float(divergence)}
        return found


def values(of: Measured, name: str) -> Any:
    """A feature of each clip: scalars [n] or histograms [n, bins]."""
    return of.scalars[:, list(UNITS).index(name)] if name in UNITS else of.vectors[name]


def rows_of_set(
    comparison: Comparison, name: str, count: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tidy rows of a set, and those of its replicates."""
    made = comparison.sets[name]
    found = comparison.value(name)
    drawn = list(comparison.replicates(name, count)) if len(set(made.pieces)) > 1 else []
    rows, replicates = [], []
    for metric, value in found.items():
        harmonic = metric.startswith("harmony")
        available = len(made.reduced) if harmonic else len(made)
        n = min(comparison.harmony if harmonic else comparison.size, available)
        note = f"mean of {DRAWS} draws of {n} from {available} clips" if available > n else ""
        some = np.array([d.get(metric, np.nan) for d in drawn])
        row = {"clips": name, "metric": metric, "unit": unit_of(metric), "n": n}
        if not math.isfinite(value):
            why = "infinite: a bin is empty" if math.isinf(value) else "no clip has a value"
            rows.append(row | {"note": f"n/a: {why}"})
            continue
        row |= {"value": f"{value:.6f}", "note": note}
        kept = some[np.isfinite(some)]
        if len(kept) > 1:
            low, high = value + np.percentile(kept, [2.5, 97.5]) - kept.mean()
            low, high = _possible(metric, float(low)), _possible(metric, float(high))
            row |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
        rows.append(row)
        replicates += [
            {"metric": metric, "clips": name, "replicate": r, "value": f"{x:.6f}"}
            for r, x in enumerate(some) if math.isfinite(x)
        ]  # fmt: skip
    return rows, replicates


def _possible(metric: str, end: float) -> float:
    """The end of an interval within what the figure can be (most are not negative)."""
    unit = unit_of(metric)
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
    comparison = Comparison(sets, settings["smoothing"], settings["compat"]) if len(real) else None
    for name, made in sets.items():
        rows += counted(name, made)
        why = "" if len(made) else made.note or "no clip has notes"
        if not len(real):
            why = why or real.note or "there is no held-out music with notes"
        if why or comparison is None:
            rows.append({"clips": name, "metric": "symbolic", "note": f"n/a: {why}"})
        elif name == REFERENCE:
            rows += [
                {
                    "clips": name,
                    "metric": k,
                    "unit": unit_of(k),
                    "n": len(real),
                    "value": f"{v:.6f}",
                }
                for k, v in comparison.value(name).items()
                if k in UNITS and math.isfinite(v)
            ]
        else:
            more, drawn = rows_of_set(comparison, name, settings["replicates"])
            rows += more
            replicates += drawn
    return rows, replicates


def read_measured(
    generated: Path, baselines: Path, vectors: Path, compat: str
) -> dict[str, Measured]:
    """All sets of an experiment's draw."""
    words = read_vectors(vectors)
    found = read_json(baselines) | read_json(generated)
    empty = {"clips": [], "dropped": {}, "note": ""}
    found = {REFERENCE: found.pop(REFERENCE, empty)} | found
    return {
        name: measured(rows, words, compat=compat, real=name == REFERENCE)
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
    data_hash: str,
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
    sets = read_measured(generated, baselines, vectors, compat)
    rows, drawn = score_sets(sets, {**settings, "compat": compat})
    seed, draw = (part.split("-")[1] for part in names["clips"].split("/"))
    common = {
        "experiment": names["experiment"],
        "system": experiment.system,
        "reference": f"{experiment.corpus} test",
        "split": "test",
        "train_seed": seed,
        "draw": draw,
        "config_hash": config_hash(experiment),
        "data_hash": data_hash,
    }
    write_figures(sets, list(read_vectors(vectors)), figures, settings["smoothing"], compat)
    write_csv(replicates, REPLICATE_COLUMNS, drawn)
    write_csv(table, COLUMNS, (common | row for row in rows))
