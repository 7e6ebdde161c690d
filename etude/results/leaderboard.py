"""From tidy CSVs of single seeds and draws to results/leaderboard.csv.

One row per experiment, clip set, metric and embedding, over all training seeds and draws. What
the models made has a cell for each seed and draw; every other set is made once for an experiment,
so its figures in the tables of several seeds are one and the same, and count once; but where each
training measures in a space of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from etude.results.statistics import (
    TrainingFigure,
    Estimate,
    estimate,
    exponential,
    logarithms,
    sampling_variance,
)
from etude.results.systems import worthless
from etude.storage import read_csv

VERSION = 4  # raised when the rows change

Row = dict[str, str]
Replicates = dict[tuple[str, str], dict[str, float]]  # (metric, embedding) -> replicate -> value

GENERATED, FLOOR = "generated", "real"
PREFERRED = "preferred_over_real"  # by listeners, in percent (preference.py)
LOWER, HIGHER = True, False  # is the better one
DIRECTIONS = {
    "frechet_distance": LOWER, "fad_infinity": LOWER, "kad": LOWER, "mad": LOWER,
    "et_grid": HIGHER, "silent": LOWER, "symbolic_frechet": LOWER, "perplexity": LOWER,
    "nats_per_note": LOWER, "nats_per_note_less_ngram": LOWER,
    PREFERRED: HIGHER, "duration_kl": LOWER, "harmony_kl": LOWER, "latent_fid": LOWER, "latent_kad": LOWER,
}  # fmt: skip
# Metrics by how their names begin; `distance_` are the user's own.
PLUGIN_DISTANCE = "distance_"
COUNTED = {"memorised_": LOWER, PLUGIN_DISTANCE: LOWER}
FROM_REAL = "_from_real"  # suffix of differences from real music's value: lower is better
# Prefixes of figures in each training's own space: its encoder measures all sets.
LATENT_PREFIX = "latent_"
# The least and the most that a unit can be, or a metric (FAD-infinity and KAD may be negative).
LIMITS = {"share": (0.0, 1.0), "%": (0.0, 100.0), "clips": (0.0, math.inf)}
LIMITS |= dict.fromkeys(("frechet_distance", "mad", "latent_fid"), (0.0, math.inf))
ANYTHING = (-math.inf, math.inf)
# Depend on n, so only figures of one n can be compared (silent clips are a count).
BIASED = ("frechet_distance", "mad", "latent_fid", "silent")
# Positive and skewed: averaged and compared as logarithms. KAD, FAD-infinity may be negative, and
# logarithms of values near 0 (MAD, divergences of histograms) are mostly noise.
RATIOS = ("frechet_distance", "symbolic_frechet", "latent_fid", "perplexity")
# Which figures a verdict may be based on: the one that was named before the run, and all others.
PRIMARY, EXPLORATORY = "primary", "exploratory"
SHARES = [
    "share_train_seed", "share_draw", "share_sampling",
    "share_train_seed_low", "share_train_seed_high",
]  # fmt: skip
COLUMNS = [
    "experiment", "system", "clips", "metric", "embedding", "reference", "split", "value",
    "ci_low", "ci_high", "n", "unit", "role", "train_seeds", "draws", "cells", *SHARES, "floor",
    "ceiling", "config_hash", "data_hash", "weights", "code_hash", "env_hash", "note",
]  # fmt: skip


@dataclass
class ExperimentFigures:
    """All tidy rows of one experiment, and the replicates of each training seed."""

    name: str
    rows: list[Row] = field(default_factory=list)
    replicates: dict[str, Replicates] = field(default_factory=dict)

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """(clips, metric, embedding) of all rows, each once, in their order."""
        return list(self._by_key)

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str], list[Row]]:
        found: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            found.setdefault((row["clips"], row["metric"], row["embedding"]), []).append(row)
        return found

    def of(self, clips: str, metric: str, embedding: str) -> list[Row]:
        """The rows of one figure: a row for each seed and draw, or one for a set made once."""
        found = self._by_key.get((clips, metric, embedding), [])
        if clips == GENERATED or metric.startswith(LATENT_PREFIX):
            return found
        return [row for row in found if row["value"]][:1] or found[:1]

    def cells(self, clips: str, metric: str, embedding: str) -> list[TrainingFigure]:
        """The finite values among them."""
        return [cell for row in self.of(clips, metric, embedding) if (cell := _cell(row))]


def read_figures(tables: Iterable[Path], replicates: Iterable[Path] = ()) -> dict[str, ExperimentFigures]:
    """Tidy CSVs by experiment, in the order of the paths.

    Args:
        tables: fad.csv, memorisation.csv, symbolic.csv: any file with the tidy columns.
        replicates: .../{experiment}/seed-S/perplexity_replicates.csv: of figures of a training,
            whatever is drawn from it.
    """
    found: dict[str, ExperimentFigures] = {}
    for path in tables:
        for row in read_csv(path):
            found.setdefault(row["experiment"], ExperimentFigures(row["experiment"])).rows.append(row)
    for path in replicates:
        name, seed = path.parts[-3:-1]
        if name not in found:
            continue
        of_training = found[name].replicates.setdefault(seed.removeprefix("seed-"), {})
        for row in read_csv(path):
            value = number(row["value"])
            if row["clips"] == GENERATED and value is not None:
                values = of_training.setdefault((row["metric"], row["embedding"]), {})
                values[row["replicate"]] = value
    return found


def leaderboard(
    figures: Iterable[ExperimentFigures],
    hashes: Mapping[str, str],
    failed: Mapping[str, str] | None = None,
    primary: tuple[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of leaderboard.csv.

    Args:
        primary: metric and embedding by which systems are compared (`evaluation.primary`).
        hashes: code_hash and env_hash, the same in all rows.
        failed: experiments that failed, wholly or in part, and why; a row each.
    """
    for one in figures:
        for clips, metric, embedding in one.keys:
            role = PRIMARY if (metric, embedding) == primary else EXPLORATORY
            yield _row(one, clips, metric, embedding) | {"role": role} | dict(hashes)
    for name, why in (failed or {}).items():
        yield {"experiment": name, "clips": GENERATED, "note": f"failed: {why}"} | dict(hashes)


def reference_values(
    one: ExperimentFigures, metric: str, embedding: str
) -> tuple[float | None, float | None]:
    """Floor and ceiling of a metric: real music against real, and the best of what is worthless.

    The ceiling is of metrics that have a better direction only.
    """
    floor = _value(one, FLOOR, metric, embedding)
    better = direction(metric)
    rivals = worthless(one.rows[0]["system"])
    known = [v for name in rivals if (v := _value(one, name, metric, embedding)) is not None]
    if better is None or not known:
        return floor, None
    return floor, min(known) if better == LOWER else max(known)


def direction(metric: str) -> bool | None:
    """Whether lower or higher is better; None where neither is."""
    if metric.endswith(FROM_REAL):
        return LOWER
    begun = (way for name, way in COUNTED.items() if metric.startswith(name))
    return DIRECTIONS.get(metric, next(begun, None))


def _row(one: ExperimentFigures, clips: str, metric: str, embedding: str) -> dict[str, Any]:
    rows = one.of(clips, metric, embedding)
    cells = one.cells(clips, metric, embedding)
    same = ("experiment", "system", "clips", "metric", "embedding", "reference", "split", "unit")
    row: dict[str, Any] = {key: rows[0][key] for key in same}
    row |= {key: _all(rows, key) for key in ("config_hash", "data_hash", "weights")}
    floor, ceiling = reference_values(one, metric, embedding)
    row |= {"floor": written(floor), "ceiling": written(ceiling)}
    row |= {"n": _least(rows), "cells": len(cells)}
    notes = _few(r["note"] for r in rows if r["note"] and r["value"])
    missing = [r["note"].removeprefix("n/a: ") or "no value" for r in rows if not r["value"]]
    if not cells:
        return row | {"note": rows[0]["note"] or "n/a"}
    if missing:
        notes.append(f"{len(missing)} of {len(rows)} cells n/a: {missing[0]}")
    if len({r["n"] for r in rows if r["value"]}) > 1:
        notes.append("n differs, the least is given")
    found = summarised(cells, metric)
    seeds = _seeds(found) if clips == GENERATED else {}
    notes += found.notes if clips == GENERATED else _once(found)
    ends = found.components.training_share or (None, None, None)
    shares = zip(SHARES, (*found.components.shares(), *ends[1:]), strict=True)
    row |= {name: written(share) for name, share in shares}
    limits = LIMITS.get(metric, LIMITS.get(row["unit"], ANYTHING))
    limits = (0.0, math.inf) if metric.endswith(FROM_REAL) else limits
    return row | seeds | interval(found, limits) | {"note": "; ".join(notes)}


def summarised(cells: list[TrainingFigure], metric: str) -> Estimate:
    """The estimate as it is shown: of several cells on the log scale where the metric wants it."""
    if len(cells) == 1 or not on_log_scale(metric, cells):
        return estimate(cells)
    found = exponential(estimate(logarithms(cells)))
    return replace(found, notes=("geometric mean", *found.notes))


def on_log_scale(metric: str, cells: Iterable[TrainingFigure]) -> bool:
    """Whether figures are averaged and compared as logarithms."""
    return metric in RATIOS and all(cell.value > 0 for cell in cells)


def _few(notes: Iterable[str]) -> list[str]:
    """Each note once; of more than two (each cell has its own line of FAD-infinity) the first."""
    found = list(dict.fromkeys(notes))
    if len(found) < 3:
        return found
    return [found[0], f"{len(found) - 1} more notes of other cells, in metrics/"]


def weights_named(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The weights of others that made the tokens and embeddings of rows, each once, with a hash."""
    cells = (row.get("weights") or "" for row in rows)
    return list(dict.fromkeys(part for cell in cells for part in cell.split("; ") if part))


def interval(found: Estimate, limits: tuple[float, float] = ANYTHING) -> dict[str, str]:
    """Value and interval as they are written; an interval ends where its figure must.

    Args:
        limits: the least and the most that such a figure can be.
    """
    least, most = limits
    return {
        "value": written(found.value),
        "ci_low": written(None if found.low is None else max(found.low, least)),
        "ci_high": written(None if found.high is None else min(found.high, most)),
    }


def written(value: float | None) -> str:
    """A figure with six decimals, as in all our CSVs."""
    return "" if value is None else f"{value:.6f}"


def number(text: str | None) -> float | None:
    """A finite figure of a CSV, None where there is none."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cell(row: Row) -> TrainingFigure | None:
    value = number(row["value"])
    if value is None:
        return None
    low, high = number(row.get("ci_low")), number(row.get("ci_high"))
    variance = sampling_variance(low, high)
    return TrainingFigure(row["train_seed"], row["draw"], value, variance, low, high)


def _value(one: ExperimentFigures, clips: str, metric: str, embedding: str) -> float | None:
    cells = one.cells(clips, metric, embedding)
    return cells[0].value if cells else None


def _seeds(found: Estimate) -> dict[str, str]:
    return {"train_seeds": " ".join(found.train_seeds), "draws": " ".join(found.draws)}


def _once(found: Estimate) -> list[str]:
    return ["no interval: one set, and the metric gives none"] if found.low is None else []


def _least(rows: list[Row]) -> str:
    counts = [int(row["n"]) for row in rows if row["n"].isdigit() and row["value"]]
    return str(min(counts)) if counts else rows[0]["n"]


def _all(rows: list[Row], key: str) -> str:
    """One hash where all rows have the same, else all of them."""
    return " ".join(dict.fromkeys(row.get(key) or "" for row in rows))
