"""Verdicts and distances as the page shows them: in plain words, in charts, in tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from etude.config import Evaluation
from etude.report.charts import Scale, Tick
from etude.report.figures import split_note
from etude.results.gate import HOLDS, NOTHING, UNDECIDED, Verdict, judge, overall
from etude.results.leaderboard import number
from etude.results.rates import percent
from etude.results.summary import NAMES
from etude.results.systems import judged, meaning, worthless
from etude.results.table import Table
from etude.results.wording import reasons

METRICS = {"frechet_distance": "Fréchet distance"}
FLOOR = "real"
UNGATED = "ungated"


@dataclass(frozen=True)
class DistanceRow:
    """One clip set in a block: its distance or why there is none, and its signals."""

    clips: str
    name: str
    meaning: str
    value: float | None
    low: float | None
    high: float | None
    note: str
    fit: str  # how it was fitted, for a tooltip
    count: str
    harmony: float | None
    flatness: float | None
    silent: float | None
    at: float = 0.0
    reach: tuple[float, float] | None = None


@dataclass(frozen=True)
class DistanceBlock:
    """All clip sets under one metric and one embedding, with the chart's axis."""

    metric: str
    embedding: str
    not_run: str = ""
    lines: list[DistanceRow] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    log: bool = False
    floor: float | None = None
    ceilings: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Score:
    """One training seed and draw: its verdict, and the primary metric of its clips and of real."""

    name: str
    word: str
    reasons: list[str]
    own: DistanceRow
    real: DistanceRow
    rates: list[tuple[str, str, str]]  # that hold: what, its upper bound, by what it was measured


@dataclass(frozen=True)
class Result:
    """One experiment; `primary` is what the metric of its scores is called."""

    name: str
    system: str
    word: str
    headline: str
    scores: list[Score]
    blocks: list[DistanceBlock]
    reasons: list[str] = field(default_factory=list)
    primary: str = ""


def distance_tables(name: str, tables: list[Table], settings: Evaluation) -> Result:
    """An experiment's tables (one per training seed and draw) as the page shows them."""
    if not tables:
        return Result(name, "", "missing", "There are no figures of this experiment.", [], [])
    system = tables[0].system
    gated = judged(system, settings)
    of_tables = [judge(table, settings) if gated else None for table in tables]
    verdicts = [verdict for verdict in of_tables if verdict]
    keys = [
        (row["metric"], row["embedding"]) for table in tables for row in table.rows
        if row["embedding"]
    ]  # fmt: skip
    primary = settings.deciding
    scores = [
        _score(table, verdict, primary) for table, verdict in zip(tables, of_tables, strict=True)
    ]
    return Result(
        name,
        system,
        overall(verdicts) if verdicts else UNGATED,
        _headline(verdicts),
        scores,
        [_block(tables, metric, embedding) for metric, embedding in dict.fromkeys(keys)],
        reasons(verdicts),
        f"{NAMES[primary[0]]} on {primary[1]}",
    )


def _headline(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "Clips that somebody else made: measured, not judged."
    word = overall(verdicts)
    notes = {
        NOTHING: "The gate cannot be decided",
        UNDECIDED: "The gate is undecided",
    }.get(word, f"The gate {word}")
    if len(verdicts) == 1:
        return f"{notes}."
    good = sum(verdict.word == HOLDS for verdict in verdicts)
    return f"{notes}: {good} of {len(verdicts)} sets of clips hold."


def _score(table: Table, verdict: Verdict | None, primary: tuple[str, str]) -> Score:
    # A rate that does not hold is among the reasons, with its limit.
    held = [rate for rate in verdict.rates if rate.word == HOLDS] if verdict else []
    return Score(
        name=table.name,
        word=verdict.word if verdict else UNGATED,
        reasons=reasons([verdict]) if verdict else [],
        own=_line(table, "generated", "generated", *primary),
        real=_line(table, FLOOR, FLOOR, *primary),
        rates=[(rate.name, f"at most {percent(rate.high or 0)}", rate.note) for rate in held],
    )


def _block(tables: list[Table], metric: str, embedding: str) -> DistanceBlock:
    title = METRICS.get(metric, metric)
    note = tables[0].note("generated", embedding)
    if note.startswith("not run"):
        return DistanceBlock(title, embedding, not_run=note.removeprefix("not run: "))
    lines = []
    for table in tables:
        name = table.name if len(tables) > 1 else "generated"
        lines.append(_line(table, "generated", name, metric, embedding))
    # The other sets are one and the same for every seed and draw.
    others = [name for name in tables[0].sets if name != "generated"]
    lines += [_line(tables[0], name, name, metric, embedding) for name in others]
    values = {line.clips: line.value for line in lines if line.value is not None}
    if not values:
        return DistanceBlock(title, embedding, lines=lines)
    ends = [v for line in lines for v in (line.value, line.low, line.high) if v is not None]
    floor = values.get(FLOOR)
    scale = Scale.around(ends)
    return DistanceBlock(
        metric=title,
        embedding=embedding,
        lines=[_placed(line, scale) for line in lines],
        ticks=scale.ticks(),
        log=scale.log,
        floor=scale.at(floor) if floor is not None else None,
        ceilings=[scale.at(values[name]) for name in worthless(tables[0].system) if name in values],
    )


def _line(table: Table, clips: str, name: str, metric: str, embedding: str) -> DistanceRow:
    row = table.row(clips, metric, embedding) or {}
    value = number(row.get("value"))
    note, fit = split_note((row.get("note") or "n/a" * (value is None)).removeprefix("n/a: "))
    return DistanceRow(
        clips=clips,
        name=name,
        meaning=meaning(clips, table.system),
        value=value,
        low=number(row.get("ci_low")),
        high=number(row.get("ci_high")),
        note=note,
        fit=fit,
        count=row.get("n") or table.count(clips),
        harmony=table.value(clips, "et_grid"),
        flatness=table.value(clips, "flatness_db"),
        silent=table.value(clips, "silent"),
    )


def _placed(line: DistanceRow, scale: Scale) -> DistanceRow:
    if line.value is None:
        return line
    known = line.low is not None and line.high is not None
    reach = (scale.at(line.low), scale.at(line.high)) if known else None  # type: ignore[arg-type]
    return DistanceRow(**{**vars(line), "at": scale.at(line.value), "reach": reach})
