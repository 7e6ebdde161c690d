"""The searches for copies as the page shows them: what they found, what they would have found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from etude.report.figures import Row, rows_of
from etude.results.leaderboard import number
from etude.results.rates import COPIED


@dataclass(frozen=True)
class SearchFigure:
    """One figure of one search, by training seed and draw."""

    rung: str
    set: str
    where: str  # seed and draw
    value: float | None
    low: float | None
    high: float | None
    n: str
    unit: str
    note: str

    @property
    def share(self) -> bool:
        """Whether it is a share, written in per cent."""
        return self.unit in ("share", "")


@dataclass(frozen=True)
class Copies:
    """The searches for copies of one experiment."""

    experiment: str
    wheres: list[str]  # seeds and draws
    flagged: list[
        tuple[str, str, list[SearchFigure | None]]
    ]  # search, set, share above the null by where
    recalls: list[str]  # planted attacks that have a recall
    recall: list[tuple[str, list[SearchFigure | None]]]  # search, a cell for each attack
    others: list[tuple[str, SearchFigure]]  # metric and figure: nulls and the like
    lengths: list[str] = field(default_factory=list)  # of beginnings that the model was given
    extraction: list[tuple[str, list[SearchFigure | None]]] = field(default_factory=list)


ALL = "all seeds and draws"
RECALL, EXTRACTED = "recall_", "extracted_"
CONTINUED = {"exact": "exactly", "nearly": "80 % of the tokens"}
OF_ITEMS = {"prefixes_train": "training pieces", "prefixes_held_out": "held-out pieces"}


def read_copies(experiment: str, paths: list[Path], board: Iterable[Row] = ()) -> Copies | None:
    """The searches of an experiment; None if there were none.

    Args:
        paths: its metrics/{experiment}/{clips}/memorisation.csv.
        board: rows of leaderboard.csv, which has shares over all seeds and draws.
    """
    rows = [
        row
        for path in paths
        for row in rows_of(path)
        if row.get("experiment", experiment) == experiment
    ]
    if not rows:
        return None
    flagged = [_found(row) for row in rows if row.get("metric", "").startswith(COPIED)]
    rungs = sorted({_rung(row) for row in rows} - {""}, key=len, reverse=True)
    recall: dict[str, dict[str, SearchFigure]] = {}
    others: list[tuple[str, SearchFigure]] = []
    lengths, extraction = _extraction(rows)
    for row in rows:
        metric, found = row.get("metric", ""), _found(row)
        if metric.startswith(RECALL):
            # The same for every seed: what was planted depends on the training music alone.
            rung, attack = _split(metric.removeprefix(RECALL), rungs)
            recall.setdefault(rung, {}).setdefault(attack, found)
        elif not metric.startswith((COPIED, EXTRACTED)):
            others.append((metric.replace("_", " "), found))
    attacks = list(dict.fromkeys(a for cells in recall.values() for a in cells))
    lines = [(rung, [cells.get(a) for a in attacks]) for rung, cells in recall.items()]
    wheres = list(dict.fromkeys(found.where for found in flagged))
    if len(wheres) > 1:
        pooled = [replace(_found(row), where=ALL) for row in board if _is_share_of(experiment, row)]
        flagged, wheres = [*pooled, *flagged], [ALL, *wheres] if pooled else wheres
    ladder = _by_rung(flagged, wheres)
    return Copies(experiment, wheres, ladder, attacks, lines, others, lengths, extraction)


def _extraction(rows: list[Row]) -> tuple[list[str], list[tuple[str, list[SearchFigure | None]]]]:
    """Lengths of beginnings, and a line for each way of counting, kind of piece and training."""
    cells: dict[tuple[str, str, str], dict[str, SearchFigure]] = {}
    for row in rows:
        name, _, length = row.get("metric", "").removeprefix(EXTRACTED).partition("_after_")
        if not row.get("metric", "").startswith(EXTRACTED) or name not in CONTINUED:
            continue
        key = (name, row.get("clips", ""), row.get("train_seed", ""))
        cells.setdefault(key, {}).setdefault(
            f"after {length} tokens" if length else "", _found(row)
        )
    lengths = list(dict.fromkeys(length for found in cells.values() for length in found))
    several = len({seed for _, _, seed in cells}) > 1
    lines = []
    for (name, clips, seed), found in cells.items():
        label = f"{CONTINUED[name]}, {OF_ITEMS.get(clips, clips)}" + f", seed {seed}" * several
        lines.append((label, [found.get(length) for length in lengths]))
    return lengths, lines


def _rung(row: Row) -> str:
    metric = row.get("metric", "")
    return metric.removeprefix(COPIED) if metric.startswith(COPIED) else ""


def _split(name: str, rungs: list[str]) -> tuple[str, str]:
    """`fingerprint_noise_30db` is the search `fingerprint` and the damage `noise 30db`."""
    rung = next(
        (rung for rung in rungs if name.startswith(f"{rung}_")), name.split("_", maxsplit=1)[0]
    )
    return rung, name.removeprefix(rung).strip("_").replace("_", " ")


def _is_share_of(experiment: str, row: Row) -> bool:
    return row.get("experiment") == experiment and bool(_rung(row))


def _by_rung(
    flagged: list[SearchFigure], wheres: list[str]
) -> list[tuple[str, str, list[SearchFigure | None]]]:
    """A line for each search and set, a cell for each seed and draw."""
    cells = {(found.rung, found.set, found.where): found for found in flagged}
    keys = dict.fromkeys((found.rung, found.set) for found in flagged)
    return [(r, name, [cells.get((r, name, w)) for w in wheres]) for r, name in keys]


def _found(row: Row) -> SearchFigure:
    value = number(row.get("value"))
    return SearchFigure(
        rung=" ".join(filter(None, (_rung(row), row.get("embedding", "")))),
        set=row.get("clips", ""),
        where=f"seed {row.get('train_seed', '')}, draw {row.get('draw', '')}",
        value=value,
        low=number(row.get("ci_low")),
        high=number(row.get("ci_high")),
        n=row.get("n", ""),
        unit=row.get("unit", ""),
        note=(row.get("note") or ("n/a" if value is None else "")).removeprefix("n/a: "),
    )
