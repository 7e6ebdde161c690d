"""Where to stop, as the page and the published run show it: copies against distance, over steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from etude.report.charts import Scale, Tick
from etude.report.figures import Row, rows_of
from etude.results.stopping import (
    ALWAYS,
    SELECTION,
    Checkpoint,
    OverSteps,
    advice,
    evidence,
    read_over_steps,
)

Reach = tuple[float, float]
LETTER, LINE = 2.5, 7.0  # of a label: width and height in hundredths of the figure


@dataclass(frozen=True)
class Point:
    """A checkpoint in the figure; places are 0 to 100 to the right and upwards.

    Attributes: across, up (the 95 % intervals; None where there is none), end (of the training),
    lift (by which its label is above it, so that none covers another).
    """

    label: str
    x: float
    y: float
    across: Reach | None
    up: Reach | None
    end: bool
    lift: float = 0.0


@dataclass(frozen=True)
class Drawing:
    """The figure of an experiment.

    Attributes: floor (where held-out music's distance is), chance (and its share of copies), log
    (whether the axis of distances is).
    """

    points: list[Point]
    floor: float | None
    chance: float
    log: bool
    right: list[Tick]
    up: list[Tick]


@dataclass(frozen=True)
class Stop:
    """What the page says of an experiment.

    Attributes: found (the figures), drawing (None where copies or distances are missing), said (the
    first sentence), why (the others).
    """

    found: OverSteps
    drawing: Drawing | None
    said: str
    why: list[str]

    @property
    def experiment(self) -> str:
        """Its name."""
        return self.found.experiment

    @property
    def stages(self) -> str:
        """Which stages' steps a label has, where there are several."""
        stages = self.found.checkpoints[-1].stages
        return "/".join(stages) if len(stages) > 1 else ""


def read_stops(tables: Iterable[Path]) -> list[Stop]:
    """The experiments whose checkpoints were measured."""
    return list(filter(None, (read_stop(rows_of(path)) for path in tables)))


def read_stop(rows: Iterable[Row]) -> Stop | None:
    """The rows of one experiment; None of no rows."""
    if (found := read_over_steps(rows)) is None:
        return None
    why = [*evidence(found), SELECTION[found.split], ALWAYS]
    return Stop(found, draw(found), advice(found), why)


def draw(found: OverSteps) -> Drawing | None:
    """The figure; None where a checkpoint has no distance or no share of copies."""
    points, floor, chance = found.checkpoints, found.floor.value, found.chance.value
    if chance is None or any(None in (p.distance.value, p.copied.value) for p in points):
        return None
    distances = [p.distance for p in points]
    ends = [x for d in distances for x in (d.value, d.low, d.high) if x is not None]
    right = _right(ends, [p.value or 0.0 for p in distances], floor)
    shares = [p.copied for p in points]
    most = max(x for s in (*shares, found.chance) for x in (s.value, s.high) if x is not None)
    up = Scale(0.0, 1.08 * most)
    return Drawing(
        points=_apart([_point(p, right, up, p is points[-1]) for p in points]),
        floor=None if floor is None else right.at(floor),
        chance=up.at(chance),
        log=right.log,
        right=right.ticks(5),
        up=[Tick(t.at, f"{100 * float(t.label):g} %") for t in up.ticks(4)],
    )


def _right(ends: list[float], values: list[float], floor: float | None) -> Scale:
    """From 0, so that what is left can be seen; logarithmic where steps differ by a decade."""
    known = [*ends, *([] if floor is None else [floor])]
    if min(known) > 0 and max(values) > 10 * min(values):
        return Scale.around(known)
    return Scale(min(0.0, *known), 1.06 * max(known))


def _point(point: Checkpoint, right: Scale, up: Scale, end: bool) -> Point:
    distance, copied = point.distance, point.copied
    return Point(
        label=point.label,
        x=right.at(distance.value or 0.0),
        y=up.at(copied.value or 0.0),
        across=_reach(right, (distance.low, distance.high)),
        up=_reach(up, (copied.low, copied.high)),
        end=end,
    )


def _apart(points: list[Point]) -> list[Point]:
    """Each label as low as the labels before it allow."""
    placed: list[Point] = []
    for point in points:
        width, lift = LETTER * max(len(p.label) for p in points) + 1, 0.0
        near = sorted(p.y + p.lift for p in placed if abs(p.x - point.x) < width)
        for other in near:
            if abs(other - point.y - lift) < LINE:
                lift = other - point.y + LINE
        placed.append(replace(point, lift=lift))
    return placed


def _reach(scale: Scale, ends: Sequence[float | None]) -> Reach | None:
    low, high = ends
    return None if low is None or high is None else (scale.at(low), scale.at(high))


def svg_of(stop: Stop) -> str:
    """The figure as a file of its own; empty where there is none."""
    if stop.drawing is None:
        return ""
    folder = jinja2.FileSystemLoader(Path(__file__).resolve().parent)
    plain = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    macros: Any = plain.get_template("over_steps.svg.j2").module
    return str(macros.steps_figure(stop, alone=True))
