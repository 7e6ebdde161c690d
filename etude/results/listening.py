"""Ratings of a listening test as rows of the leaderboard.

results/listening/{experiment}.csv    tidy rows, which the leaderboard, fad.txt and the page read
results/listening/correlations.csv    how well each metric agrees with what listeners prefer
results/listening/pages/{page}.csv    what the pairs of a page are (etude listen)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etude.errors import UserError
from etude.results.leaderboard import FLOOR, GENERATED, PREFERRED
from etude.results.preference import (
    LISTENERS,
    UNIT,
    Preference,
    Ratings,
    agreement,
    preferences,
    read_ratings,
)
from etude.storage import read_csv, write_csv

FOLDER, KEYS = Path("listening"), Path("listening/pages")
COLUMNS = [
    "experiment", "system", "clips", "metric", "embedding", "reference", "split", "value",
    "ci_low", "ci_high", "n", "unit", "train_seed", "draw", "config_hash", "data_hash", "weights",
    "note",
]  # fmt: skip

Row = dict[str, Any]


def write_listening(paths: Sequence[Path], results: Path = Path("results")) -> str:
    """Write the rows of each rated experiment; gives back what is found, in words.

    Raises:
        UserError: there are no ratings, or none of an experiment of this run.
    """
    ratings = read_ratings(paths, results / KEYS)
    found = preferences(ratings.kept)
    board = _board(results / "leaderboard.csv")
    # Of rows on several splits (a perplexity of the training music) that of the primary metric.
    board.sort(key=lambda row: (row["split"] == "test", row["role"] == "primary"))
    known = {row["experiment"]: row for row in board if row["clips"] == GENERATED}
    rated = [one for one in found if one.system in known]
    if not rated:
        raise UserError(
            "there are no ratings of this run's experiments", code="ratings-of-another-run",
            where=", ".join(map(str, paths)),
            why=f"rated are: {', '.join(one.system for one in found) or 'none'}",
            do="run this where the run's results/ are",
        )
    for one in rated:
        rows = _rows(one, known[one.system], ratings)
        write_csv(results / FOLDER / f"{one.system}.csv", COLUMNS, rows)
    return "\n".join(_words(rated, ratings)) + "\n"


def _board(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise UserError(
            "there is no leaderboard for the ratings", code="no-leaderboard",
            where=str(path),
            do="run the workflow first: snakemake --cores all",
        )
    return list(read_csv(path))


def _rows(one: Preference, of: dict[str, str], ratings: Ratings) -> list[Row]:
    """The experiment's figure, and real music's: half of all answers, by definition."""
    same = ("experiment", "system", "split", "config_hash", "data_hash", "weights")
    row: Row = {key: of[key] for key in same}
    first = {"train_seed": _first(of["train_seeds"]), "draw": _first(of["draws"])}
    row |= first | {"metric": PREFERRED, "embedding": "", "unit": UNIT, "n": one.listeners}
    row |= {"reference": "listeners, blind pairs with real music"}
    shared = agreement(ratings.kept)
    summary = f"{one.ratings} ratings of {one.listeners} listeners"
    if shared is not None:
        summary += f", of whom two agree in {100 * shared:.0f} % of pairs"
    if one.value is None:
        note = f"n/a: {summary}; at least {LISTENERS} listeners are needed"
        return [row | {"clips": GENERATED, "note": note}]
    figures = {
        "value": f"{one.value:.6f}",
        "ci_low": f"{one.low:.6f}",
        "ci_high": f"{one.high:.6f}",
        "note": f"{summary}; of the average listener",
    }
    real = {"clips": FLOOR, "value": "50.000000", "note": "by definition"}
    return [row | {"clips": GENERATED} | figures, row | real]


def _first(words: str) -> str:
    return words.split(maxsplit=1)[0].rstrip(",;") if words else "0"


def _words(found: Sequence[Preference], ratings: Ratings) -> list[str]:
    lines = ["preferred over real music, by listeners (50 %: as often as not)"]
    for one in found:
        counts = f"{one.ratings} ratings of {one.listeners} listeners"
        figure = f"n/a, fewer than {LISTENERS} listeners"
        if one.value is not None:
            figure = f"{one.value:.0f} % [{one.low:.0f}, {one.high:.0f}]"
        lines.append(f"  {one.system:<24}{figure:>24}, {counts}")
    if ratings.catches:
        lines.append(f"  catch pairs answered rightly: {ratings.caught} of {ratings.catches}")
    lines += [f"  not counted: {count} {why}" for why, count in ratings.left_out.items()]
    return lines
