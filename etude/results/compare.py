"""`python -m etude compare A B`: two runs, or two experiments of one, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etude.errors import UserError, nearest
from etude.results.differences import compare_pairs
from etude.results.leaderboard import GENERATED, Figures, leaderboard, number, read_figures
from etude.results.summary import NAMES
from etude.storage import read_csv

TABLES = ("fad.csv", "memorisation.csv", "symbolic.csv")
HASHES = {
    "config_hash": "settings",
    "data_hash": "data",
    "code_hash": "code",
    "env_hash": "environment",
}
LEADERBOARD = "leaderboard.csv"
NOT_MADE = "make it first: snakemake --cores all results/leaderboard.csv"


@dataclass(frozen=True)
class Side:
    """One of two things that are compared: its figures and its rows of the leaderboard."""

    figures: Figures
    board: list[dict[str, str]]

    @property
    def name(self) -> str:
        """As it is called in the text."""
        return self.figures.name

    def hashes(self, key: str) -> str:
        """All hashes of one kind."""
        return " ".join(sorted({row.get(key, "") for row in self.board}))


def compare(a: str, b: str, results: Path = Path("results")) -> str:
    """The comparison as text.

    Args:
        a, b: two folders of results, or two experiments that the leaderboard of `results` has.

    Raises:
        UserError: one is not there, is not complete, or the two have nothing in common.
    """
    folders = [Path(word) for word in (a, b)]
    if all(folder.is_dir() for folder in folders):
        pairs = _of_folders(*map(_inside, folders))
    else:
        for word, folder in zip((a, b), folders, strict=True):
            if "/" in word and not folder.is_dir():
                raise UserError("there is no such folder", where=word, do="check the path")
        known = read_sides(_inside(results), (a, b))
        pairs = [(_find(known, a, results), _find(known, b, results))]
        if a == b:
            raise UserError(f"{a!r} is compared with itself", do="name two experiments")
    rows = list(compare_pairs(((x.figures, y.figures) for x, y in pairs), {}))
    if not rows:
        raise UserError(
            "the two have no metric in common",
            where=f"{a} and {b}",
            why="only figures of one metric and embedding can be compared",
            do="evaluate both with the same `evaluation.embeddings`",
        )
    return "\n".join(line for pair in pairs for line in _text(*pair, rows)) + "\n"


def read_sides(folder: Path, only: Iterable[str] | None = None) -> dict[str, Side]:
    """The experiments of a folder of results by name, in the leaderboard's order.

    Where metrics/ lies beside the leaderboard the single seeds and draws are read, so that they
    can be paired; else (docs/results/) the leaderboard's own intervals must do.

    Raises:
        UserError: there is no leaderboard, or it is of another form.
    """
    path = folder / LEADERBOARD
    if not path.is_file():
        raise UserError("there is no leaderboard", where=str(path), do=NOT_MADE)
    rows = list(read_csv(path))
    if not rows or not {"experiment", "train_seeds", "draws", "metric"} <= rows[0].keys():
        raise UserError(
            "this is no leaderboard of Étude",
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
    """A folder of results, also where the folder of the run is named."""
    inner = folder / "results"
    return inner if not (folder / LEADERBOARD).exists() and inner.is_dir() else folder


def _figures(folder: Path, name: str, board: list[dict[str, str]]) -> Figures:
    """The figures of single seeds and draws, only of those that the leaderboard names."""
    seeds = {s for row in board for s in row["train_seeds"].split()}
    draws = {d for row in board for d in row["draws"].split()}
    cells = [
        folder / "metrics" / name / f"seed-{s}" / f"draw-{d}"
        for s in sorted(seeds, key=int)
        for d in sorted(draws, key=int)
    ]
    tables = [cell / file for cell in cells for file in TABLES if (cell / file).is_file()]
    replicates = [file for cell in cells for file in sorted(cell.glob("*replicates.csv"))]
    found = read_figures(tables, replicates).get(name)
    return found or Figures(name, [_as_cell(row, folder) for row in board])


def _as_cell(row: dict[str, str], folder: Path) -> dict[str, str]:
    """A row over all seeds as one cell, which pairs with none of another folder."""
    note = row["note"] if row["note"].startswith(("n/a", "not run")) else ""
    return row | {"train_seed": str(folder), "draw": "all", "note": note}


def _find(known: dict[str, Side], name: str, results: Path) -> Side:
    if name in known:
        return known[name]
    names = list(dict.fromkeys(r["experiment"] for r in read_csv(_inside(results) / LEADERBOARD)))
    raise UserError(
        f"there are no figures of an experiment {name!r}{nearest(name, names)}",
        where=str(_inside(results) / LEADERBOARD),
        why=f"it has: {', '.join(names)}",
        do="name two of these, or two folders of results",
    )


def _of_folders(a: Path, b: Path) -> list[tuple[Side, Side]]:
    """The experiments of two folders that bear one name, or the only one of each."""
    if a.resolve() == b.resolve():
        raise UserError("a folder is compared with itself", where=str(a), do="name two folders")
    of_a, of_b = read_sides(a), read_sides(b)
    common = [(of_a[name], of_b[name]) for name in of_a if name in of_b]
    if not common and len(of_a) == len(of_b) == 1:
        common = [(next(iter(of_a.values())), next(iter(of_b.values())))]
    if not common:
        raise UserError(
            "the two folders have no experiment in common",
            where=f"{a} and {b}",
            why=f"{', '.join(of_a) or 'none'}; {', '.join(of_b) or 'none'}",
            do="give experiments one name, or compare folders with one experiment each",
        )
    return [(_named(x, a), _named(y, b)) for x, y in common]


def _named(side: Side, folder: Path) -> Side:
    """Told apart from the one of the same name in the other folder."""
    return replace(side, figures=replace(side.figures, name=f"{folder}: {side.name}"))


def _text(a: Side, b: Side, rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"A = {a.name}", f"B = {b.name}"]
    same = {word: a.hashes(key) == b.hashes(key) for key, word in HASHES.items()}
    lines.append(", ".join(f"{w}: {'the same' if s else 'not the same'}" for w, s in same.items()))
    form = "  {:<34} {:>30} {:>30} {:>30}  {}"
    lines += ["", form.format("", "A [95 %] n", "B [95 %] n", "A - B [95 %]", "A is").rstrip()]
    boards = [_estimates(a), _estimates(b)]
    for row in rows:
        if (row["a"], row["b"]) != (a.name, b.name):
            continue
        key = row["metric"], row["embedding"]
        name = " ".join(filter(None, (row["embedding"], NAMES.get(row["metric"], row["metric"]))))
        cells = [_figure(board.get(key)) for board in boards]
        if row.get("value"):
            p = f" (p {float(row['p_holm']):.3f})" if row.get("p_holm") else ""
            paired = ", unpaired" if not row["pairs"] else ""
            said = row["verdict"] + p + paired
            lines.append(form.format(name, *cells, _figure(row, n=False), said))
        else:
            lines.append(form.format(name, *cells, "-", row["note"]))
    return [*lines, ""]


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
