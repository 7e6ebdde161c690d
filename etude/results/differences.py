"""results/differences.csv: which of two experiments is better, if that can be told.

A verdict on two systems needs at least two trainings of each: then Welch's t over trainings. With
one training of either the row has an interval for these very clips, and no verdict.

One metric and embedding, named in the configuration before the run (`evaluation.primary`),
decides: Holm's correction over all pairs of experiments under it. Everything else is exploratory,
and labelled so: Benjamini and Hochberg's correction over all of it at once. Constants of the corpus
(the null of the search for copies) and sets that no model made are not tested.

Figures on the log scale (statistics.py) are compared as a ratio, a / b; column `scale` says which.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.results.leaderboard import (
    BIASED,
    EXPLORATORY,
    GENERATED,
    PLUGIN_DISTANCE,
    LATENT_PREFIX,
    PRIMARY,
    ExperimentFigures,
    Row,
    direction,
    interval,
    on_log_scale,
    summarised,
    written,
)
from etude.results.statistics import (
    TrainingFigure,
    Estimate,
    benjamini_hochberg,
    difference,
    estimate,
    exponential,
    holm,
    logarithms,
    these_clips,
    verdict,
)

VERSION = 4  # raised when the rows change

OF_TOKENS = ("perplexity",)  # only models of the same tokens can be compared by it
CONSTANTS = ("null_",)  # prefixes of figures that say nothing about a model
FEWEST = 10  # replicates for a variance
DIFFERENCE, RATIO = "difference", "ratio"
ONE_TRAINING = "n/a: one training; only these clips"
COLUMNS = [
    "role", "metric", "embedding", "a", "b", "reference", "split", "unit", "value_a", "value_b",
    "scale", "value", "ci_low", "ci_high", "n", "train_seeds_a", "train_seeds_b", "draws", "p",
    "p_adjusted", "family", "verdict", "config_hash_a", "config_hash_b", "data_hash_a",
    "data_hash_b", "code_hash", "env_hash", "note",
]  # fmt: skip

Key = tuple[str, str]  # metric, embedding


@dataclass(frozen=True)
class Comparison:
    """Two experiments under one metric and embedding: their difference, or why there is none."""

    a: ExperimentFigures
    b: ExperimentFigures
    key: Key
    found: Estimate | None = None
    why: str = ""
    scale: str = DIFFERENCE
    one_training: bool = False

    @property
    def p(self) -> float | None:
        """Of the test of two systems; None where there is none."""
        return None if self.found is None or self.one_training else self.found.p


def differences(
    figures: Iterable[ExperimentFigures], hashes: Mapping[str, str], primary: Key | None
) -> Iterator[dict[str, Any]]:
    """The rows of differences.csv: a against b for every pair of experiments.

    Args:
        primary: metric and embedding that were named before the run; None: nothing was, and all
            is exploratory.
    """
    yield from compare_pairs(itertools.combinations(list(figures), 2), hashes, primary)


def compare_pairs(
    pairs: Iterable[tuple[ExperimentFigures, ExperimentFigures]], hashes: Mapping[str, str], primary: Key | None
) -> Iterator[dict[str, Any]]:
    """Rows for these pairs, the primary metric's first; the families are of what is compared."""
    keys: dict[Key, list[tuple[ExperimentFigures, ExperimentFigures]]] = {}
    for a, b in pairs:
        for clips, *key in a.keys:
            metric, embedding = key
            if clips == GENERATED and not metric.startswith(CONSTANTS) and b.of(clips, *key):
                keys.setdefault((metric, embedding), []).append((a, b))
    every = [_compare(a, b, key) for key, members in keys.items() for a, b in members]
    for role, correct in ((PRIMARY, holm), (EXPLORATORY, benjamini_hochberg)):
        family = [one for one in every if (one.key == primary) == (role == PRIMARY)]
        known = [one.p for one in family if one.p is not None]
        corrected = iter(correct(known))
        for one in family:
            p = None if one.p is None else next(corrected)
            yield {"role": role} | _common(one) | _verdict_columns(one, p, len(known)) | dict(hashes)


def _compare(a: ExperimentFigures, b: ExperimentFigures, key: Key) -> Comparison:
    of_a, of_b = (one.of(GENERATED, *key) for one in (a, b))
    if why := _incomparable(of_a, of_b, key[0]):
        return Comparison(a, b, key, why=why)
    both = [one.cells(GENERATED, *key) for one in (a, b)]
    if not all(both):
        name, rows = (b.name, of_b) if both[0] else (a.name, of_a)
        why = f"{name}: {rows[0]['note'].removeprefix('n/a: ') or 'no value'}"
        return Comparison(a, b, key, why=why)
    log = on_log_scale(key[0], itertools.chain(*both))
    one_training = any(len({cell.train_seed for cell in cells}) < 2 for cells in both)
    found = _difference(both, _of_pieces(a, b, key, log=log), log=log, these=one_training)
    scale = RATIO if log else DIFFERENCE
    return Comparison(a, b, key, found, scale=scale, one_training=one_training)


def _difference(
    both: list[list[TrainingFigure]], shared: float | None, *, log: bool, these: bool
) -> Estimate:
    """The first minus the second; of their logarithms if these are compared."""
    if log:
        both = [logarithms(cells) for cells in both]
    if shared is not None:  # the choice of pieces is common to both
        both = [[TrainingFigure(c.train_seed, c.draw, c.value) for c in cells] for cells in both]
    first, second = (these_clips(cells) if these else estimate(cells) for cells in both)
    return difference(first, second, shared)


def _incomparable(of_a: list[Row], of_b: list[Row], metric: str) -> str:
    """Why two figures must not be subtracted."""
    if metric.startswith(LATENT_PREFIX):
        return "measured in the latent space of each experiment's own encoder"
    for key in ("reference", "split", "unit"):
        values = sorted({row[key] for row in (*of_a, *of_b)})
        if len(values) > 1:
            return f"measured with another {key}: {', '.join(values)}"
    if metric in OF_TOKENS and len({row["data_hash"] for row in (*of_a, *of_b)}) > 1:
        return "counted per token, and their tokens are not the same"
    counts = sorted({row["n"] for row in (*of_a, *of_b) if row["value"]}, key=str)
    biased = metric in BIASED or metric.startswith(PLUGIN_DISTANCE)  # unknown for the latter
    if biased and len(counts) > 1:
        return f"made of different numbers of clips ({', '.join(counts)}), on which it depends"
    return ""


def _of_pieces(a: ExperimentFigures, b: ExperimentFigures, key: Key, *, log: bool) -> float | None:
    """The variance of a - b by which held-out pieces were asked; None where that is unknown.

    Replicates are of trainings (perplexity): replicate r asks the same pieces of every model. Those
    of clips share nothing from one experiment to another, and are not read.
    """
    curves = [_curve(one, key) for one in (a, b)]
    common = [name for name in curves[0] if name in curves[1]]
    if len(common) < FEWEST:
        return None
    left, right = (np.stack([curve[name] for name in common]) for curve in curves)
    if log:
        left, right = np.log(left), np.log(right)
    return float((left.mean(1) - right.mean(1)).var(ddof=1))


def _curve(one: ExperimentFigures, key: Key) -> dict[str, NDArray[np.float64]]:
    """By replicate the values of all trainings [trainings]; only replicates that all have."""
    of = [training[key] for training in one.replicates.values() if key in training]
    names = [name for name in of[0] if all(name in cell for cell in of)] if of else []
    return {name: np.array([cell[name] for cell in of]) for name in names}


def _common(one: Comparison) -> dict[str, Any]:
    metric, embedding = one.key
    of_a, of_b = (figures.of(GENERATED, *one.key) for figures in (one.a, one.b))
    row: dict[str, Any] = {"metric": metric, "embedding": embedding}
    row |= {"a": one.a.name, "b": one.b.name}
    row |= {key: of_a[0][key] for key in ("reference", "split", "unit")}
    counts = [int(r["n"]) for r in (*of_a, *of_b) if r["n"].isdigit()]
    row["n"] = min(counts) if counts else ""
    for letter, figures, rows in (("a", one.a, of_a), ("b", one.b, of_b)):
        for key in ("config_hash", "data_hash"):
            row[f"{key}_{letter}"] = " ".join(dict.fromkeys(r[key] for r in rows))
        if cells := figures.cells(GENERATED, *one.key):
            row[f"value_{letter}"] = written(summarised(cells, metric).value)
            row[f"train_seeds_{letter}"] = " ".join(dict.fromkeys(c.train_seed for c in cells))
    return row


def _verdict_columns(one: Comparison, corrected: float | None, family: int) -> dict[str, Any]:
    if one.found is None:
        return {"verdict": "n/a", "note": f"n/a: {one.why}"}
    found, notes = one.found, []
    word = verdict(found, corrected, direction(one.key[0]))
    if one.one_training:
        word, notes = ONE_TRAINING, ["interval of sampling: other clips of the same trainings"]
    elif not found.error:
        word, notes = "n/a", ["n/a: no spread between trainings, so that no error is known"]
    shown = exponential(found) if one.scale == RATIO else found
    return interval(shown) | {
        "scale": one.scale,
        "draws": " ".join(found.draws),
        "p": written(one.p),
        "p_adjusted": written(corrected),
        "family": family,
        "verdict": word,
        "note": "; ".join(notes),
    }
