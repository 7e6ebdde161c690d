"""Distances and verdicts as the page shows them: in plain words, in charts, in tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from etude.config import Evaluation
from etude.report.charts import Scale, Tick
from etude.report.figures import decimal, number, some
from etude.results.table import Table, judge, meaning

METRICS = {"frechet_distance": "Fréchet distance"}
WORDS = {True: "holds", False: "fails", None: "undecided"}
FLOOR, CEILINGS = "real", ("shuffled", "untrained", "noise")
GATED = ("audiolm", "symbolic_lm")  # systems that Étude trains; it does not judge what others made


@dataclass(frozen=True)
class Line:
    """One clip set in a block: its distance or why there is none, and its signals."""

    clips: str
    name: str
    meaning: str
    value: float | None
    low: float | None
    high: float | None
    note: str
    count: str
    harmony: float | None
    flatness: float | None
    silent: float | None
    at: float = 0.0
    reach: tuple[float, float] | None = None


@dataclass(frozen=True)
class Block:
    """All clip sets under one metric and one embedding, with the chart's axis."""

    metric: str
    embedding: str
    not_run: str = ""
    lines: list[Line] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    log: bool = False
    floor: float | None = None
    goal: float | None = None
    ceilings: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Score:
    """The figures of one training seed and draw."""

    name: str
    verdict: str
    figures: str
    distance: float | None
    ratio: float | None
    harmony: float | None
    real_harmony: float | None
    silent: int
    count: str
    embedding: str
    sentences: list[str]


@dataclass(frozen=True)
class Result:
    """One experiment."""

    name: str
    system: str
    verdict: str
    headline: str
    scores: list[Score]
    blocks: list[Block]


def describe(name: str, tables: list[Table], settings: Evaluation) -> Result:
    """An experiment's tables (one per training seed and draw) as the page shows them."""
    if not tables:
        return Result(name, "", "missing", "There are no figures of this experiment.", [], [])
    system = tables[0].rows[0]["system"]
    scores = [_score(table, settings, system in GATED) for table in tables]
    keys = [
        (row["metric"], row["embedding"]) for table in tables for row in table.rows
        if row["embedding"]
    ]  # fmt: skip
    blocks = [_block(tables, metric, embedding) for metric, embedding in dict.fromkeys(keys)]
    verdict = _overall([score.verdict for score in scores])
    return Result(name, system, verdict, _headline(verdict, scores), scores, blocks)


def _overall(words: list[str]) -> str:
    return next((w for w in ("fails", "undecided", "holds") if w in words), "ungated")


def _headline(verdict: str, scores: list[Score]) -> str:
    if verdict == "ungated":
        return "Clips that somebody else made: measured, not judged."
    if verdict == "undecided":
        why = next(score.figures for score in scores if score.verdict == "undecided")
        return f"The gate cannot be decided: {why}."
    if len(scores) == 1:
        return f"The gate {verdict}."
    good = sum(score.verdict == "holds" for score in scores)
    return f"The gate {verdict}: {good} of {len(scores)} sets of clips pass."


def _name(table: Table) -> str:
    first = table.rows[0]
    return f"seed {first['train_seed']}, draw {first['draw']}"


def _score(table: Table, settings: Evaluation, gated: bool) -> Score:
    metric, judged = "frechet_distance", judge(table, settings)
    known = [e for e in table.embeddings if table.value("generated", metric, e) is not None]
    embedding = known[0] if known else next(iter(table.embeddings), "")
    distance = table.value("generated", metric, embedding)
    floor = table.value(FLOOR, metric, embedding)
    ratio = distance / floor if distance is not None and floor else None
    silent = int(table.value("generated", "silent") or 0)
    harmony = table.value("generated", "et_grid")
    own = table.value("real", "et_grid") or table.value("reference", "et_grid")
    rivals = [
        f"{name} {decimal(value)}"
        for name in CEILINGS
        if (value := table.value(name, metric, embedding)) is not None
    ]
    return Score(
        name=_name(table),
        verdict=WORDS[judged.holds] if gated else "ungated",
        figures=judged.figures,
        distance=distance,
        ratio=ratio,
        harmony=harmony,
        real_harmony=own,
        silent=silent,
        count=table.count("generated"),
        embedding=embedding,
        sentences=[
            _say_ratio(ratio, table, embedding),
            _say_range(_line(table, FLOOR, FLOOR, metric, embedding)),
            f"What is worth nothing lies at: {', '.join(rivals)}." if rivals else "",
            _say_harmony(harmony, own),
            f"{some(silent, 'clip is', 'clips are')} silent." if silent else "No clip is silent.",
        ],
    )


def _say_ratio(ratio: float | None, table: Table, embedding: str) -> str:
    count = table.count("generated")
    if ratio is None:
        notes = (table.note(name, embedding) for name in ("generated", FLOOR))
        why = next((n.removeprefix("n/a: ") for n in notes if n and n != "n/a"), "no figure")
        return f"How far the clips are from real music cannot be said against a floor: {why}."
    if ratio < 1:
        return (
            "The clips are as near to held-out music as other real music is "
            f"({ratio:.2f} of its distance). Below 1 means within the sampling error of {count} "
            "clips, not better than real."
        )
    goal = "within" if ratio < 2 else "outside"
    return (
        f"The clips are {ratio:.2f} times as far from held-out music as other real music is; "
        f"that is {goal} the goal of 2."
    )


def _say_range(floor: Line) -> str:
    if floor.low is None or floor.high is None:
        return ""
    return (
        f"As many real clips, drawn again and again, lie at {decimal(floor.low, 1)} to "
        f"{decimal(floor.high, 1)}."
    )


def _say_harmony(harmony: float | None, own: float | None) -> str:
    if harmony is None:
        return "There is no tone in the clips to measure harmony by."
    real = "" if own is None else f"; in real music of this corpus it is {own:.0%}"
    return f"{harmony:.0%} of the tonal energy lies on the tempered grid (chance: 50%){real}."


def _block(tables: list[Table], metric: str, embedding: str) -> Block:
    title = METRICS.get(metric, metric)
    note = tables[0].note("generated", embedding)
    if note.startswith("not run"):
        return Block(title, embedding, not_run=note.removeprefix("not run: "))
    lines = []
    for table in tables:
        name = _name(table) if len(tables) > 1 else "generated"
        lines.append(_line(table, "generated", name, metric, embedding))
    # The other sets are one and the same for every seed and draw.
    others = [name for name in tables[0].sets if name != "generated"]
    lines += [_line(tables[0], name, name, metric, embedding) for name in others]
    values = {line.clips: line.value for line in lines if line.value is not None}
    if not values:
        return Block(title, embedding, lines=lines)
    ends = [v for line in lines for v in (line.value, line.low, line.high) if v is not None]
    floor = values.get(FLOOR)
    scale = Scale.around([*ends, *([2 * floor] if floor else [])])
    return Block(
        metric=title,
        embedding=embedding,
        lines=[_placed(line, scale) for line in lines],
        ticks=scale.ticks(),
        log=scale.log,
        floor=scale.at(floor) if floor is not None else None,
        goal=scale.at(2 * floor) if floor is not None else None,
        ceilings=[scale.at(values[name]) for name in CEILINGS if name in values],
    )


def _line(table: Table, clips: str, name: str, metric: str, embedding: str) -> Line:
    keys = {"clips": clips, "metric": metric, "embedding": embedding}
    row = next((r for r in table.rows if keys.items() <= r.items()), {})
    value = number(row.get("value"))
    return Line(
        clips=clips,
        name=name,
        meaning=meaning(clips, table.rows[0]["system"]),
        value=value,
        low=number(row.get("ci_low")),
        high=number(row.get("ci_high")),
        note=(row.get("note") or ("n/a" if value is None else "")).removeprefix("n/a: "),
        count=row.get("n") or table.count(clips),
        harmony=table.value(clips, "et_grid"),
        flatness=table.value(clips, "flatness_db"),
        silent=table.value(clips, "silent"),
    )


def _placed(line: Line, scale: Scale) -> Line:
    if line.value is None:
        return line
    known = line.low is not None and line.high is not None
    reach = (scale.at(line.low), scale.at(line.high)) if known else None  # type: ignore[arg-type]
    return Line(**{**vars(line), "at": scale.at(line.value), "reach": reach})
