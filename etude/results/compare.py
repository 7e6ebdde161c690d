"""`python -m etude compare_experiments A B`: two runs, or two experiments of one, side by side.

The rules are those of differences.csv. Of two experiments of one run the p-values are corrected for
all that the run has: whoever looks at one pair only has chosen it. The primary metric is the one that
both leaderboards name; if they differ, none was agreed on before, and everything is exploratory.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import UserError, closest
from etude.results.differences import RATIO, compare_pairs
from etude.results.leaderboard import (
    GENERATED,
    PRIMARY,
    RATIOS,
    ExperimentFigures,
    leaderboard,
    number,
    read_figures,
)
from etude.results.statistics import point
from etude.results.summary import NAMES
from etude.storage import read_csv

TIDY = {"experiment", "system", "train_seed", "clips", "metric", "value"}  # columns
HASHES = {
    "config_hash": "settings",
    "data_hash": "data",
    "code_hash": "code",
    "env_hash": "environment",
}
LEADERBOARD = "leaderboard.csv"
CORRECTION = {"primary": "Holm", "exploratory": "Benjamini-Hochberg"}
NO_PRIMARY = "No one primary metric was named before both runs: all of this is exploratory."
NOT_MADE = "make it first: snakemake --cores all results/leaderboard.csv"


@dataclass(frozen=True)
class Side:
    """One of two things that are compared: its figures and its rows of the leaderboard."""

    figures: ExperimentFigures
    board: list[dict[str, str]]

    @property
    def name(self) -> str:
        """Its name in the text."""
        return self.figures.name

    def hashes(self, key: str) -> str:
        """All hashes of one kind."""
        return " ".join(sorted({row.get(key, "") for row in self.board}))


def compare_experiments(a: str, b: str, results: Path = Path("results")) -> str:
    """The comparison as text.

    Args:
        a, b: two folders of results, or two experiments that the leaderboard of `results` has.

    Raises:
        UserError: one is missing or incomplete, or the two have nothing in common.
    """
    folders = [Path(word) for word in (a, b)]
    if all(folder.is_dir() for folder in folders):
        pairs = tested = _of_folders(*map(_inside, folders))
    else:
        for word, folder in zip((a, b), folders, strict=True):
            if "/" in word and not folder.is_dir():
                raise UserError("there is no such folder", code="folder-not-found", where=word, do="check the path")
        known = read_sides(_inside(results))
        pairs = [(_find(known, a, results), _find(known, b, results))]
        if a == b:
            raise UserError(f"{a!r} is compared with itself", code="compared-with-itself", do="name two experiments")
        others = itertools.combinations(known.values(), 2)
        tested = [*pairs, *(pair for pair in others if {x.name for x in pair} != {a, b})]
    primary = _primary(pairs)
    rows = list(compare_pairs(((x.figures, y.figures) for x, y in tested), {}, primary))
    if not any(_is_of(row, *pair) for row in rows for pair in pairs):
        raise UserError(
            "the two have no metric in common", code="no-common-metric",
            where=f"{a} and {b}",
            why="only figures of one metric and embedding can be compared",
            do="evaluate both with the same `evaluation.embeddings`",
        )
    lines = [line for pair in pairs for line in _text(*pair, rows)]
    return "\n".join([*lines, *([] if primary else [NO_PRIMARY])]) + "\n"


def read_sides(folder: Path, only: Iterable[str] | None = None) -> dict[str, Side]:
    """The experiments of a folder of results by name, in the leaderboard's order.

    Where metrics/ lies beside the leaderboard the single seeds and draws are read; else
    (docs/results/) the leaderboard's own intervals must do.

    Raises:
        UserError: there is no leaderboard, or it is of another form.
    """
    path = folder / LEADERBOARD
    if not path.is_file():
        raise UserError("there is no leaderboard", code="no-leaderboard", where=str(path), do=NOT_MADE)
    rows = list(read_csv(path))
    if not rows or not {"experiment", "train_seeds", "draws", "metric"} <= rows[0].keys():
        raise UserError(
            "this is no leaderboard of Étude", code="not-a-leaderboard",
            where=str(path),
            why="columns are missing",
            do=NOT_MADE,
        )
    wanted = set(only) if only is not None else None
    boards: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["metric"] and (wanted is None or row["experiment"] in wanted):
            boards.setdefault(row["experiment"], []).append(row)
    return {name: Side(_figures(folder, name, board), board) for name, board in boards.items()}


def _inside(folder: Path) -> Path:
    """A folder of results; the folder of the run is accepted as well."""
    inner = folder / "results"
    return inner if not (folder / LEADERBOARD).exists() and inner.is_dir() else folder


def _figures(folder: Path, name: str, board: list[dict[str, str]]) -> ExperimentFigures:
    """The figures of single seeds and draws, only of those that the leaderboard names."""
    seeds = {s for row in board for s in row["train_seeds"].split()}
    draws = {d for row in board for d in row["draws"].split()}
    trainings = [folder / "metrics" / name / f"seed-{s}" for s in sorted(seeds, key=int)]
    cells = [training / f"draw-{d}" for training in trainings for d in sorted(draws, key=int)]
    places = [*cells, *trainings]  # as the leaderboard reads them: what is of no draw comes last
    tables = [file for place in places for file in sorted(place.glob("*.csv")) if _is_tidy(file)]
    replicates = [file for place in trainings for file in sorted(place.glob("*replicates.csv"))]
    found = read_figures(tables, replicates).get(name)
    return found or ExperimentFigures(name, [cell for row in board for cell in _as_cells(row)])


def _is_tidy(path: Path) -> bool:
    """Whether a table has figures of sets, as the leaderboard takes them."""
    with path.open(encoding="utf-8", newline="") as file:
        return set(next(csv.reader(file), ())) >= TIDY


def _as_cells(row: dict[str, str]) -> Iterator[dict[str, str]]:
    """A row over all seeds as trainings that have the same mean and interval."""
    note = row["note"] if row["note"].startswith(("n/a", "not run")) else ""
    seeds = row["train_seeds"].split()
    value, low, high = (number(row[key]) for key in ("value", "ci_low", "ci_high"))
    if len(seeds) < 2 or value is None or low is None or high is None:
        yield row | {"train_seed": row["train_seeds"], "draw": "all", "note": note}
        return
    log = row["metric"] in RATIOS and low > 0
    middle, least, most = map(math.log, (value, low, high)) if log else (value, low, high)
    # An end may have been cut off where its figure must end; then the other speaks for both.
    error = max(most - middle, middle - least) / point(len(seeds) - 1)
    places = np.linspace(-1, 1, len(seeds))
    values = middle + error * math.sqrt(len(seeds)) / places.std(ddof=1) * places
    for seed, one in zip(seeds, values, strict=True):
        text = repr(math.exp(one) if log else float(one))
        alone = {"train_seed": seed, "draw": "all", "value": text, "ci_low": "", "ci_high": ""}
        yield row | alone | {"note": note}


def _find(known: dict[str, Side], name: str, results: Path) -> Side:
    if name in known:
        return known[name]
    names = list(dict.fromkeys(r["experiment"] for r in read_csv(_inside(results) / LEADERBOARD)))
    raise UserError(
        f"there are no figures of an experiment {name!r}{closest(name, names)}", code="unknown-experiment",
        where=str(_inside(results) / LEADERBOARD),
        why=f"it has: {', '.join(names)}",
        do="name two of these, or two folders of results",
    )


def _of_folders(a: Path, b: Path) -> list[tuple[Side, Side]]:
    """The experiments of two folders with the same name, or the only one of each."""
    if a.resolve() == b.resolve():
        raise UserError("a folder is compared with itself", code="compared-with-itself", where=str(a), do="name two folders")
    of_a, of_b = read_sides(a), read_sides(b)
    common = [(of_a[name], of_b[name]) for name in of_a if name in of_b]
    if not common and len(of_a) == len(of_b) == 1:
        common = [(next(iter(of_a.values())), next(iter(of_b.values())))]
    if not common:
        raise UserError(
            "the two folders have no experiment in common", code="no-common-experiment",
            where=f"{a} and {b}",
            why=f"{', '.join(of_a) or 'none'}; {', '.join(of_b) or 'none'}",
            do="give experiments one name, or compare folders with one experiment each",
        )
    return [(_named(x, a), _named(y, b)) for x, y in common]


def _named(side: Side, folder: Path) -> Side:
    """With a name that differs from the same one in the other folder."""
    return replace(side, figures=replace(side.figures, name=f"{folder}: {side.name}"))


def _text(a: Side, b: Side, rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"A = {a.name}", f"B = {b.name}"]
    same = {word: a.hashes(key) == b.hashes(key) for key, word in HASHES.items()}
    lines.append(", ".join(f"{w}: {'the same' if s else 'not the same'}" for w, s in same.items()))
    form = "  {:<34} {:>30} {:>30} {:>30}  {}"
    head = form.format("", "A [95 %] n", "B [95 %] n", "A - B or A / B (x) [95 %]", "A is").rstrip()
    lines += ["", head]
    boards, role = [_estimates(a), _estimates(b)], ""
    for row in (row for row in rows if _is_of(row, a, b)):
        if row["role"] != role:
            role = row["role"]
            tests = next((r["family"] for r in rows if r["role"] == role and r.get("family")), 0)
            many = f"{tests} test{'s' * (tests != 1)}"
            how = f", p corrected by {CORRECTION[role]} for {many}" if tests else ""
            lines.append(f"{role}{how}")
        key = row["metric"], row["embedding"]
        name = " ".join(filter(None, (row["embedding"], NAMES.get(row["metric"], row["metric"]))))
        cells = [_figure(board.get(key)) for board in boards]
        if row.get("value"):
            p = f" (p {float(row['p_adjusted']):.3f})" if row.get("p_adjusted") else ""
            mark = "x" if row["scale"] == RATIO else ""
            lines.append(
                form.format(name, *cells, mark + _figure(row, n=False), row["verdict"] + p)
            )
        else:
            lines.append(form.format(name, *cells, "-", row["note"]))
    return [*lines, ""]


def _is_of(row: dict[str, Any], a: Side, b: Side) -> bool:
    return (row["a"], row["b"]) == (a.name, b.name)


def _primary(pairs: list[tuple[Side, Side]]) -> tuple[str, str] | None:
    """The metric and embedding that all leaderboards name as the one that decides."""
    named = {
        tuple((r["metric"], r["embedding"]) for r in _of_models(side) if r.get("role") == PRIMARY)
        for pair in pairs
        for side in pair
    }
    (first, *others) = named
    return first[0] if first and not others else None


def _of_models(side: Side) -> list[dict[str, str]]:
    return [row for row in side.board if row["clips"] == GENERATED]


def _estimates(side: Side) -> dict[tuple[str, str], dict[str, Any]]:
    rows = (row for row in leaderboard([side.figures], {}) if row["clips"] == GENERATED)
    return {(row["metric"], row["embedding"]): row for row in rows}


def _figure(row: dict[str, Any] | None, n: bool = True) -> str:
    value = number((row or {}).get("value"))
    if row is None or value is None:
        return "n/a"
    low, high = number(row.get("ci_low")), number(row.get("ci_high"))
    between = "[-]" if low is None or high is None else f"[{low:.4g}, {high:.4g}]"
    return f"{value:.4g} {between}" + (f" {row['n']}" if n else "")
