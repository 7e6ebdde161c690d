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

from etude.metrics.score import COLUMNS, config_hash
from etude.metrics.symbolic import frechet, overlap
from etude.metrics.symbolic.counts import NEUROMUSIC
from etude.metrics.symbolic.drawing import write_figures
from etude.metrics.symbolic.table import UNITS, Index, Measured, compare, measured, unit_of
from etude.metrics.symbolic.word2vec import read_vectors
from etude.storage import read_json, write_csv

VERSION = 1  # raised when the figures change

REPLICATE_COLUMNS = ["embedding", "metric", "clips", "replicate", "value"]
REFERENCE = "reference"
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
        self.sets, self.smoothing, self.compat = sets, smoothing, compat
        self.real = sets[REFERENCE]
        self.size = min((len(s) for s in sets.values() if len(s)), default=0)
        filled = [s for s in sets.values() if len(s)]
        whole = frechet.filled(self.real.frechet_rows, self.real.frechet_rows)
        project = frechet.projection(whole) if len(self.real) > 1 else None
        for some in filled if project else ():
            some.projected = project(frechet.filled(some.frechet_rows, self.real.frechet_rows))  # type: ignore[misc]
        self.largest = {
            name: overlap.largest_distance(*(values(s, name) for s in filled))
            for name in (*UNITS, *self.real.vectors)
        }

    def replicates(self, name: str, count: int) -> Iterator[dict[str, float]]:
        """The figures of a set in bootstrap replicates."""
        made, of = self.sets[name], self._features(name)
        for r in range(count):
            i = draw_units(self.real.pieces, len(self.real), [r, 0])
            j = draw_units(made.pieces, min(self.size, len(made)), [r, 1])
            yield self._compare(made, of, i, j)

    def value(self, name: str) -> dict[str, float]:
        """The figures of a set: of all clips, or the mean over draws of a larger set's."""
        made, of = self.sets[name], self._features(name)
        everything = np.arange(len(self.real))
        if len(made) <= self.size:
            return self._compare(made, of, everything, np.arange(len(made)))
        generator = np.random.default_rng(0)
        draws = [
            self._compare(
                made, of, everything, np.sort(generator.choice(len(made), self.size, replace=False))
            )
            for _ in range(DRAWS)
        ]
        return {k: float(np.mean([d.get(k, np.nan) for d in draws])) for k in draws[0]}

    def _features(self, name: str) -> dict[str, overlap.Feature]:
        made = self.sets[name]
        return {
            k: overlap.Feature.of(values(self.real, k), values(made, k), largest)
            for k, largest in self.largest.items()
        }

    def _compare(
        self, made: Measured, of: Mapping[str, overlap.Feature], i: Index, j: Index
    ) -> dict[str, float]:
        return compare(self.real, made, of, self.smoothing, self.compat, i, j)


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
    n = min(comparison.size, len(made))
    note = f"mean of {DRAWS} draws of {n} from {len(made)} clips" if len(made) > n else ""
    rows, replicates = [], []
    for metric, value in found.items():
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
            row |= {"ci_low": f"{_floor(metric, low):.6f}", "ci_high": f"{high:.6f}"}
        rows.append(row)
        replicates += [
            {"metric": metric, "clips": name, "replicate": r, "value": f"{x:.6f}"}
            for r, x in enumerate(some) if math.isfinite(x)
        ]  # fmt: skip
    return rows, replicates


def _floor(metric: str, low: float) -> float:
    """A divergence is not negative; a cosine may be."""
    return float(low) if unit_of(metric) == "cosine" else max(float(low), 0.0)


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
