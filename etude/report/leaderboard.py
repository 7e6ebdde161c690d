"""The leaderboard and the differences between experiments, drawn.

One block for each metric and embedding; figures of different blocks cannot be
compared. The CSVs may be absent (a run of an earlier version, a run that was cut short): then the
page says so and shows what each experiment's own tables have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from etude.report.charts import Scale, Tick
from etude.report.figures import Row, split_note
from etude.results.differences import RATIO
from etude.results.leaderboard import DIRECTIONS, PRIMARY, number
from etude.results.summary import SIGNALS
from etude.results.systems import clip_sets, meaning, worthless

FLOOR, OWN = "real", "generated"
FEW = 12  # rows up to which the sets that give meaning are in the one table

# What a figure is called and what it says, in plain words.
METRICS = {
    "frechet_distance": (
        "Fréchet distance",
        "how far apart two clouds of embeddings lie, as Gaussians; biased upwards for few clips",
    ),
    "fad_infinity": (
        "FAD∞",
        "the Fréchet distance extended to a set without end, which takes out most of the bias",
    ),
    "kad": ("KAD", "kernel distance: no Gaussian is assumed, and few clips do not bias it"),
    "mad": ("MAD", "divergence of MAUVE on clusters: what one set has that the other lacks"),
    "preferred_over_real": (
        "Preferred over real music",
        "per cent of blind pairs in which listeners like it better; 50 is as often as not",
    ),
}
VERDICTS = {"better": "good", "worse": "bad", "inconclusive": "even"}


@dataclass(frozen=True)
class LeaderboardEntry:
    """One clip set of one experiment under one metric; places are per cent of the axis."""

    experiment: str
    clips: str
    value: float | None
    low: float | None
    high: float | None
    n: str
    seeds: str
    shares: str
    note: str
    fit: str = ""  # how it was fitted, for a tooltip
    system: str = ""
    at: float = 0.0
    reach: tuple[float, float] | None = None
    floor: float | None = None
    ceilings: tuple[float, ...] = ()

    @property
    def own(self) -> bool:
        """Whether it is what a model made."""
        return self.clips == OWN

    @property
    def meaning(self) -> str:
        """What the set is, in plain words."""
        return meaning(self.clips, self.system)


@dataclass(frozen=True)
class Board:
    """One block: a metric on an embedding, all experiments."""

    metric: str
    embedding: str
    meaning: str
    entries: list[LeaderboardEntry]
    others: list[LeaderboardEntry] = field(
        default_factory=list
    )  # sets that give meaning, if they are many
    ticks: list[Tick] = field(default_factory=list)
    log: bool = False
    not_run: str = ""

    @property
    def digits(self) -> int:
        """Decimals that the smallest figure needs, so that a column has one number of them."""
        values = [abs(entry.value) for entry in self.entries if entry.value]
        return digits_of(min(values, default=1.0))

    @property
    def best(self) -> LeaderboardEntry | None:
        """The nearest of what models made."""
        known = [entry for entry in self.entries if entry.own and entry.value is not None]
        return min(known, key=lambda entry: entry.value or 0.0, default=None)


@dataclass(frozen=True)
class FiguresTable:
    """Figures that depend on no embedding, of one experiment: a row each, a column for each set."""

    experiment: str
    sets: list[str]
    rows: list[tuple[str, str, list[LeaderboardEntry | None]]]  # metric, unit, a cell for each set
    more: list[tuple[str, str, list[LeaderboardEntry | None]]] = field(
        default_factory=list
    )  # if many


@dataclass(frozen=True)
class DifferenceRow:
    """Two experiments under one metric: their difference or ratio, and whether it is one."""

    first: str
    second: str
    metric: str
    embedding: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: str
    note: str
    primary: bool = False  # named before the run; all else is exploratory
    ratio: bool = False  # value and interval are of first / second, not of first - second
    at: float = 0.0
    zero: float = 50.0
    digits: int = 2
    reach: tuple[float, float] | None = None

    @property
    def mood(self) -> str:
        """The colour of the verdict."""
        return VERDICTS.get(self.verdict.split()[0] if self.verdict else "", "even")


def digits_of(value: float) -> int:
    """Decimals by which a number has three digits that count, six at most."""
    return min(max(2 - math.floor(math.log10(value)), 0), 6) if value > 0 else 2


def read_boards(
    rows: Iterable[Row], run: list[str], first: tuple[str, str] | None = None
) -> list[Board]:
    """Blocks of leaderboard.csv, in the order in which they are first met.

    Args:
        first: metric and embedding of the block that comes before the others.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.get("embedding") and row.get("experiment") in run:
            groups.setdefault((row.get("metric", ""), row["embedding"]), []).append(row)
    known = {key: found for key, found in groups.items() if _says_something(found)}
    order = sorted(known, key=lambda key: key != first)  # a stable sort
    return [_board(*key, known[key], run) for key in order]


def _says_something(rows: list[Row]) -> bool:
    """A figure, or why there is none; the parameters of a fit are neither."""
    return any(row.get("clips") == OWN for row in rows)


def _board(metric: str, embedding: str, rows: list[Row], run: list[str]) -> Board:
    title, meaning = METRICS.get(metric, (metric.replace("_", " "), ""))
    board = Board(title, embedding, meaning, [])
    notes = {row.get("note", "") for row in rows}
    if all(note.startswith("not run") for note in notes):
        return replace(board, not_run=notes.pop().removeprefix("not run: "))
    order = clip_sets()
    entries = [_entry(row) for row in rows if row.get("clips") != "reference"]
    entries.sort(
        key=lambda e: (
            not e.own,
            run.index(e.experiment),
            order.index(e.clips) if e.clips in order else len(order),
        )
    )
    values = [v for e in entries for v in (e.value, e.low, e.high) if v is not None]
    if not values:
        return replace(board, entries=entries)
    scale = Scale.around(values)
    placed = [_placed(entry, entries, scale) for entry in entries]
    own = [entry for entry in placed if entry.own]
    few = len(placed) <= FEW
    return replace(
        board,
        entries=placed if few else own,
        others=[] if few else [entry for entry in placed if not entry.own],
        ticks=scale.ticks(5),
        log=scale.log,
    )


def _entry(row: Row) -> LeaderboardEntry:
    value = number(row.get("value"))
    seeds, draws = (_count(row.get(key, "")) for key in ("train_seeds", "draws"))
    note, fit = split_note((row.get("note") or "n/a" * (value is None)).removeprefix("n/a: "))
    parts = (("training seed", "train_seed"), ("draw", "draw"), ("sampling", "sampling"))
    shares = [
        f"{label} {share:.0%}{_range(row, key)}"
        for label, key in parts
        if (share := number(row.get(f"share_{key}"))) is not None
    ]
    return LeaderboardEntry(
        experiment=row.get("experiment", ""),
        clips=row.get("clips", ""),
        value=value,
        low=number(row.get("ci_low")),
        high=number(row.get("ci_high")),
        n=row.get("n", ""),
        seeds=f"{seeds} × {draws}" if seeds and draws else "",
        shares=", ".join(shares),
        note=note,
        fit=fit,
        system=row.get("system", ""),
    )


def _range(row: Row, key: str) -> str:
    """The interval of a share, where there is one."""
    low, high = (number(row.get(f"share_{key}_{end}")) for end in ("low", "high"))
    return "" if low is None or high is None else f" ({low:.0%} to {high:.0%})"


def _count(cell: str) -> str:
    """How many seeds a list such as `0 1 2` has."""
    return str(len(cell.split())) if cell else ""


def _placed(
    entry: LeaderboardEntry, entries: list[LeaderboardEntry], scale: Scale
) -> LeaderboardEntry:
    """With its places, and the lines of its own experiment's floor and ceilings."""
    values = {
        other.clips: other.value
        for other in entries
        if other.experiment == entry.experiment and other.value is not None
    }
    floor = values.get(FLOOR)
    known = entry.low is not None and entry.high is not None
    return replace(
        entry,
        at=scale.at(entry.value) if entry.value is not None else 0.0,
        reach=(scale.at(entry.low), scale.at(entry.high)) if known else None,  # type: ignore[arg-type]
        floor=scale.at(floor) if floor is not None else None,
        ceilings=tuple(
            scale.at(values[name]) for name in worthless(entry.system) if name in values
        ),
    )


def read_figures(
    rows: Iterable[Row], run: list[str], own: Iterable[str] = ()
) -> list[FiguresTable]:
    """Figures without an embedding, by experiment; copies have a section of their own.

    Args:
        own: figures of the user's: they stand first, with those that have a better side.
    """
    of_run: dict[str, dict[tuple[str, str], dict[str, LeaderboardEntry]]] = {
        name: {} for name in run
    }
    for row in rows:
        if not row.get("embedding") and row.get("experiment") in of_run:
            cells = of_run[row["experiment"]].setdefault(
                (row.get("metric", ""), row.get("unit", "")), {}
            )
            cells[row.get("clips", "")] = _entry(row)
    order = clip_sets()
    found = []
    for name, metrics in of_run.items():
        seen = {clips for cells in metrics.values() for clips in cells}
        sets = [s for s in order if s in seen] + sorted(seen - set(order))
        lines = [
            (metric, unit, [cells.get(clips) for clips in sets])
            for (metric, unit), cells in metrics.items()
        ]
        key = [line for line in lines if line[0] in (*DIRECTIONS, *SIGNALS, *own)]
        few = len(lines) <= FEW or not key
        rest = [] if few else [line for line in lines if line not in key]
        found += [FiguresTable(name, sets, lines if few else key, rest)] if lines else []
    return found


def read_differences(rows: Iterable[Row], run: list[str]) -> list[DifferenceRow]:
    """Rows of differences.csv, each metric and embedding on an axis of its own."""
    found = [_difference(row) for row in rows]
    found = [d for d in found if d.first in run and d.second in run]
    groups: dict[tuple[str, str], list[DifferenceRow]] = {}
    for difference in found:
        groups.setdefault((difference.metric, difference.embedding), []).append(difference)
    return [d for group in groups.values() for d in _on_one_axis(group)]


def shown_first(found: list[DifferenceRow]) -> tuple[list[DifferenceRow], list[DifferenceRow]]:
    """Comparisons by the primary metric, and the exploratory ones."""
    return [d for d in found if d.primary], [d for d in found if not d.primary]


def _difference(row: Row) -> DifferenceRow:
    metric = row.get("metric", "")
    return DifferenceRow(
        first=row.get("a", ""),
        second=row.get("b", ""),
        metric=METRICS.get(metric, (metric.replace("_", " "), ""))[0],
        embedding=row.get("embedding", ""),
        value=number(row.get("value")),
        low=number(row.get("ci_low")),
        high=number(row.get("ci_high")),
        p=number(row.get("p_adjusted")),
        verdict=row.get("verdict", ""),
        note=row.get("note", ""),
        primary=row.get("role") == PRIMARY,
        ratio=row.get("scale") == RATIO,
    )


def _on_one_axis(group: list[DifferenceRow]) -> list[DifferenceRow]:
    """Zero (one for ratios) in the middle: the side shows who is nearer to real music."""
    kinds = [[d for d in group if d.ratio == ratio] for ratio in (False, True)]
    return [d for kind in kinds for d in _placed_differences(kind)]


def _placed_differences(group: list[DifferenceRow]) -> list[DifferenceRow]:
    """Differences, or ratios, of one kind; ratios lie on an axis of logarithms."""
    ends = [abs(_place(d, v)) for d in group for v in (d.value, d.low, d.high) if v is not None]
    most = max(ends, default=0.0) or 1.0
    scale = Scale(-1.05 * most, 1.05 * most)
    placed = []
    for d in group:
        known = d.low is not None and d.high is not None
        placed.append(
            replace(
                d,
                at=scale.at(_place(d, d.value)) if d.value is not None else 50.0,
                zero=scale.at(0.0),
                digits=2 if d.ratio else digits_of(most),
                reach=(scale.at(_place(d, d.low)), scale.at(_place(d, d.high))) if known else None,  # type: ignore[arg-type]
            )
        )
    return placed


def _place(of: DifferenceRow, value: float) -> float:
    return math.log(max(value, 1e-6)) if of.ratio else value  # the least that a CSV tells from 0
