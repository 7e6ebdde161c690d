"""results/differences.csv: which of two experiments is better, and whether that can be said.

Two experiments are compared by the clips of the same training seed and draw, and these by the same
replicates: what both share (how hard the seed's dice fell, which real clips stood in the replicate)
is no difference. A replicate's spread is not that of the whole set (subsamples are smaller), so of
replicates only their correlation r is used: the variance of a difference is taken as
v_a + v_b - 2 r sqrt(v_a v_b), with the variances v that the two cells' own intervals say.

Holm's correction is over a family: all pairs of experiments under one metric and one embedding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from etude.results.leaderboard import (
    BIASED,
    GENERATED,
    Figures,
    Row,
    direction,
    interval,
    written,
)
from etude.results.statistics import (
    Cell,
    Components,
    Estimate,
    difference,
    estimate,
    holm,
    pair,
    verdict,
)

VERSION = 1  # raised when the rows change

OF_TOKENS = ("perplexity",)  # only models of the same tokens can be compared by it
FEWEST = 10  # replicates for a correlation
COLUMNS = [
    "metric", "embedding", "a", "b", "reference", "split", "unit", "value_a", "value_b", "value",
    "ci_low", "ci_high", "n", "train_seeds", "draws", "pairs", "p", "p_holm", "family", "verdict",
    "config_hash_a", "config_hash_b", "data_hash_a", "data_hash_b", "code_hash", "env_hash", "note",
]  # fmt: skip
NOTHING = Components(None, None, None)


def differences(figures: Iterable[Figures], hashes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows of differences.csv: a - b for every pair of experiments."""
    yield from compare_pairs(itertools.combinations(list(figures), 2), hashes)


def compare_pairs(
    pairs: Iterable[tuple[Figures, Figures]], hashes: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Rows for these pairs; the families are made of what is compared here."""
    families: dict[tuple[str, str], list[tuple[Figures, Figures]]] = {}
    for a, b in pairs:
        for clips, metric, embedding in a.keys:
            if clips == GENERATED and b.of(clips, metric, embedding):
                families.setdefault((metric, embedding), []).append((a, b))
    for (metric, embedding), members in families.items():
        found = [_compare(a, b, metric, embedding) for a, b in members]
        known = [f.p for f, _ in found if f is not None and f.p is not None]
        corrected = iter(holm(known))
        for (a, b), (estimated, why) in zip(members, found, strict=True):
            row = _common(a, b, metric, embedding) | dict(hashes)
            if estimated is None:
                yield row | {"verdict": "n/a", "note": f"n/a: {why}"}
                continue
            p = None if estimated.p is None else next(corrected)
            yield row | _said(estimated, p, len(known), direction(metric))


def _compare(a: Figures, b: Figures, metric: str, embedding: str) -> tuple[Estimate | None, str]:
    """The difference, or why there is none."""
    of_a, of_b = (one.of(GENERATED, metric, embedding) for one in (a, b))
    if why := _incomparable(of_a, of_b, metric):
        return None, why
    cells_a, cells_b = (one.cells(GENERATED, metric, embedding) for one in (a, b))
    if not cells_a or not cells_b:
        name, rows = (b.name, of_b) if cells_a else (a.name, of_a)
        return None, f"{name}: {rows[0]['note'].removeprefix('n/a: ') or 'no value'}"
    sampling = {
        one.key: _paired_variance(one, other, a, b, (metric, embedding))
        for one in cells_a
        for other in cells_b
        if one.key == other.key
    }
    paired = pair(cells_a, cells_b, sampling)
    if paired:
        return estimate(paired), ""
    return difference(estimate(cells_a), estimate(cells_b)), ""


def _incomparable(of_a: list[Row], of_b: list[Row], metric: str) -> str:
    """Why two figures must not be subtracted."""
    for key in ("reference", "split", "unit"):
        values = sorted({row[key] for row in (*of_a, *of_b)})
        if len(values) > 1:
            return f"measured with another {key}: {', '.join(values)}"
    if metric in OF_TOKENS and len({row["data_hash"] for row in (*of_a, *of_b)}) > 1:
        return "counted per token, and their tokens are not the same"
    counts = sorted({row["n"] for row in (*of_a, *of_b) if row["value"]}, key=str)
    if metric in BIASED and len(counts) > 1:
        return f"made of different numbers of clips ({', '.join(counts)}), on which it hangs"
    return ""


def _paired_variance(
    one: Cell, other: Cell, a: Figures, b: Figures, key: tuple[str, str]
) -> float | None:
    """The variance of the difference of two cells whose replicates pair; None where none do."""
    of_a, of_b = (f.replicates.get(one.key, {}).get(key, {}) for f in (a, b))
    common = [name for name in of_a if name in of_b]
    if len(common) < FEWEST or one.sampling is None or other.sampling is None:
        return None
    left, right = (np.array([values[name] for name in common]) for values in (of_a, of_b))
    spread = float(left.std() * right.std())
    together = float(((left - left.mean()) * (right - right.mean())).mean())
    correlation = together / spread if spread > 0 else 0.0
    shared = 2 * correlation * math.sqrt(one.sampling * other.sampling)
    return max(one.sampling + other.sampling - shared, 0.0)


def _common(a: Figures, b: Figures, metric: str, embedding: str) -> dict[str, Any]:
    of_a, of_b = (one.of(GENERATED, metric, embedding) for one in (a, b))
    row: dict[str, Any] = {"metric": metric, "embedding": embedding, "a": a.name, "b": b.name}
    row |= {key: of_a[0][key] for key in ("reference", "split", "unit")}
    counts = [int(r["n"]) for r in (*of_a, *of_b) if r["n"].isdigit()]
    row["n"] = min(counts) if counts else ""
    for letter, one, rows in (("a", a, of_a), ("b", b, of_b)):
        for key in ("config_hash", "data_hash"):
            row[f"{key}_{letter}"] = " ".join(dict.fromkeys(r[key] for r in rows))
        if cells := one.cells(GENERATED, metric, embedding):
            row[f"value_{letter}"] = written(estimate(cells).value)
    return row


def _said(
    found: Estimate, corrected: float | None, family: int, lower_is_better: bool | None
) -> dict[str, Any]:
    unpaired = "unpaired" in found.notes
    notes = ["no seed and draw in common"] if unpaired else []
    row = interval(found) | {
        "train_seeds": " ".join(found.train_seeds),
        "draws": " ".join(found.draws),
        "pairs": 0 if unpaired else found.cells,
        "p": written(found.p),
        "p_holm": written(corrected),
        "family": family,
        "verdict": verdict(found, corrected, lower_is_better),
    }
    return row | {"note": "; ".join([*found.notes, *notes])}
