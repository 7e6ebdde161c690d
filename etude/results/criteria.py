"""Stated criteria against a finished run: results/criteria/{experiment}.csv and .txt.

Metrics
    * `loss`: the highest rolling mean of the training loss (of `smooth_steps` steps, nats per
      predicted token) that ends in the last `steady_share` of the steps, for each stage and
      training seed; it must be below `loss_below`. So "steadily below" is more than one lucky step.
    * `exact_matches`: segments of generated clips whose samples equal those of a training segment,
      for each clip set; at most as many as `exact_matches`.
    * `frechet_distance`: of generated clips, for each embedding; below `distance_below` where that
      names the embedding, otherwise only reported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from etude.config import Criteria
from etude.plugins import plugin_label
from etude.storage import read_csv, write_csv, write_text

VERSION = 1  # raised when figures or verdicts change

log = logging.getLogger(__name__)
Row = dict[str, Any]

COLUMNS = [
    "experiment", "criterion", "of", "train_seed", "draw", "value", "limit", "verdict", "note",
]  # fmt: skip
MET, FAILED, UNDECIDED, TOLD = "met", "FAILED", "n/a", "told"
HASHES = "hash_comparison_detailed.csv"


def check_criteria(
    experiment: str,
    criteria: Criteria,
    *,
    histories: Sequence[Path],
    hashes: Sequence[Path],
    tables: Sequence[Path],
    table: Path,
    text: Path,
) -> str:
    """Write the verdicts as a table and as a text; gives back the text.

    Args:
        histories: .../{stage}/seed-S/history.csv of the stages that were trained here.
        hashes: .../seed-S/draw-D/hashes, folders with we-sharp's hash_comparison_detailed.csv.
        tables: .../seed-S/draw-D/fad.csv.
    """
    rows = [
        *_losses(criteria, histories),
        *_matches(criteria, hashes),
        *_distances(criteria, tables),
    ]
    rows = [{"experiment": experiment} | row for row in rows]
    write_csv(table, COLUMNS, rows)
    outcome = render(experiment, rows)
    write_text(text, outcome)
    log.info("%s", outcome.splitlines()[-1])
    return outcome


# ---------------------------------------------------------------------------------------- losses


def rolling_means(history: Iterable[Row], steps: int) -> list[tuple[int, float]]:
    """(step, mean training loss of the last `steps` steps up to it) for each row of a history.

    A row's loss is the mean since the row before, so it counts for as many steps; a window begins
    with the first row that reaches into it, and is shorter at the beginning.
    """
    means: list[tuple[int, float]] = []
    window: list[tuple[int, int, float]] = []  # (step, steps that the row stands for, loss)
    before = 0
    for row in history:
        step, loss = int(row["step"]), float(row["train_loss"] or "nan")
        window.append((step, step - before, loss))
        before = step
        window = [entry for entry in window if entry[0] > step - steps]
        total = sum(count for _, count, _ in window)
        means.append((step, sum(count * value for _, count, value in window) / total))
    return means


def steady_since(means: list[tuple[int, float]], limit: float) -> int | None:
    """The first step from which every mean is below the limit; None if the last is not."""
    since = None
    for step, mean in reversed(means):
        if not mean < limit:  # nan as well
            break
        since = step
    return since


def _losses(criteria: Criteria, histories: Sequence[Path]) -> Iterator[Row]:
    limit = criteria.loss_below
    if limit is None:
        return
    if not histories:
        note = "no stage was trained here"
        yield {"criterion": "loss", "limit": _figure(limit), "verdict": UNDECIDED, "note": note}
    for path in histories:
        stage, seed = path.parts[-3], path.parts[-2].removeprefix("seed-")
        common = {"criterion": "loss", "of": stage, "train_seed": seed, "limit": _figure(limit)}
        rows = list(read_csv(path))
        means = rolling_means(rows, criteria.smooth_steps)
        if not means:
            yield common | {"verdict": UNDECIDED, "note": "the history is empty"}
            continue
        last = means[-1][0]
        end = [m for s, m in means if s > last * (1 - criteria.steady_share)] or [means[-1][1]]
        worst = max(end) if all(m == m for m in end) else float("nan")  # noqa: PLR0124 (no nan)
        since = steady_since(means, limit)
        note = f"below since step {since}" if since is not None else f"not below at step {last}"
        if last < criteria.smooth_steps:
            note += f"; {last} steps in all, fewer than the mean is of"
        validated = [row["valid_loss"] for row in rows if row["valid_loss"]]
        if validated:
            note += f"; validation loss {float(validated[-1]):.4g} (told only)"
        verdict = MET if worst < limit else FAILED
        yield common | {"value": _figure(worst), "verdict": verdict, "note": note}


# ---------------------------------------------------------------------------- copies, distances


def _matches(criteria: Criteria, hashes: Sequence[Path]) -> Iterator[Row]:
    limit = criteria.exact_matches
    if limit is None:
        return
    for folder in hashes:
        probes = list(read_csv(folder / HASHES))
        found = sum(row["is_match"] == "True" for row in probes)
        clips = len({row["probe_filename"].rpartition("@")[0] for row in probes})
        verdict = MET if found <= limit else FAILED
        yield _clip_set(folder) | {
            "criterion": "exact_matches",
            "of": "generated",
            "value": found,
            "limit": limit,
            "verdict": verdict if probes else UNDECIDED,
            "note": f"of {len(probes)} segments of {clips} clips" if probes else "no clips",
        }


def _distances(criteria: Criteria, tables: Sequence[Path]) -> Iterator[Row]:
    wanted = {plugin_label(name): limit for name, limit in criteria.distance_below.items()}
    for path in tables:
        for row in read_csv(path):
            if (row["clips"], row["metric"]) != ("generated", "frechet_distance"):
                continue
            name, value = row["embedding"], row["value"]
            limit = wanted.get(name)
            verdict = TOLD
            if limit is not None:
                verdict = UNDECIDED if not value else MET if float(value) < limit else FAILED
            note = row["note"] if value else row["note"].partition(":")[0] or "n/a"
            if limit is None:
                note = "; ".join(filter(None, (note, "no limit is set")))
            yield _clip_set(path) | {
                "criterion": "frechet_distance",
                "of": name,
                "value": value,
                "limit": "" if limit is None else _figure(limit),
                "verdict": verdict,
                "note": note,
            }


def _clip_set(path: Path) -> Row:
    """Training seed and draw of something in .../seed-S/draw-D/."""
    seed, draw = path.parts[-3:-1]
    return {"train_seed": seed.removeprefix("seed-"), "draw": draw.removeprefix("draw-")}


# ------------------------------------------------------------------------------------------ text


def verdict_of(rows: Iterable[Row]) -> str:
    """One word for all: FAILED if any failed, n/a if nothing failed and something is undecided."""
    outcome = {row["verdict"] for row in rows} - {TOLD}
    if FAILED in outcome:
        return FAILED
    return UNDECIDED if UNDECIDED in outcome or not outcome else MET


def render(experiment: str, rows: list[Row]) -> str:
    """The text; its last line is the verdict."""
    lines = [f"Criteria of {experiment}, as its configuration states them.", ""]
    for row in rows:
        where = ", ".join(
            f"{word} {row[key]}"
            for key, word in (("train_seed", "training seed"), ("draw", "draw"))
            if row.get(key, "") != ""
        )
        limit = row.get("limit", "")
        sign = "at most" if row["criterion"] == "exact_matches" else "below"
        asked = f"{sign} {limit}" if limit != "" else ""
        value = row.get("value", "")
        lines.append(
            f"  {row['criterion']:<17} {row.get('of', ''):<17} {value!s:>9}  "
            f"{asked:<10} {row['verdict']:<7} {where}; {row['note']}".rstrip("; ")
        )
    failed = [f"{r['criterion']} of {r.get('of')}" for r in rows if r["verdict"] == FAILED]
    words = {MET: "met", FAILED: "NOT met: " + ", ".join(dict.fromkeys(failed)), UNDECIDED: "n/a"}
    return "\n".join([*lines, "", f"criteria: {words[verdict_of(rows)]}"]) + "\n"


def _figure(value: float) -> str:
    return f"{value:.6g}"
