"""Positions in a chart. The template draws it, so that a chart has the page's own colours, in light
and dark mode, and everything in it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """Maps values to positions from 0 to 100, on a linear or a logarithmic axis."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: Iterable[float]) -> Scale:
        """An axis that holds all values: logarithmic where they span more than a decade."""
        known = sorted(values)
        if known[0] > 0 and known[-1] / known[0] > 10:
            return cls(known[0] / 1.25, known[-1] * 1.25, log=True)
        reach = (known[-1] - known[0]) or abs(known[0]) or 1.0
        low = known[0] - 0.08 * reach
        return cls(max(low, 0.0) if known[0] >= 0 else low, known[-1] + 0.08 * reach)

    def at(self, value: float) -> float:
        """Place of a value, kept within the axis."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log(max(v, 1e-12)) for v in (value, low, high))
        return round(min(max((value - low) / (high - low), 0.0), 1.0) * 100, 3)

    def ticks(self, most: int = 6) -> list[Tick]:
        """Round values within the axis."""
        values = self._decades(most) if self.log else self._steps(most)
        return [Tick(self.at(value), f"{value:,.10g}") for value in values]

    def _steps(self, most: int) -> list[float]:
        raw = (self.high - self.low) / most
        power = 10 ** math.floor(math.log10(raw))
        step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        digits = max(0, -math.floor(math.log10(step)))
        return [round(k * step, digits) for k in range(first, last + 1)]

    def _decades(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = [f * 10.0**power for power in range(first, last + 1) for f in factors]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) <= most:
                break
        return inside


@dataclass(frozen=True)
class ChartLine:
    """One curve of a panel: its kind (which colour) and its points as SVG writes them."""

    kind: str
    path: str
    dots: Points = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """Curves over steps, in a box of 100 x 100."""

    title: str
    lines: list[ChartLine]
    across: list[Tick]
    up: list[Tick]


def panel(title: str, curves: list[tuple[str, Points]]) -> Panel | None:
    """A panel of curves (kind, points); None without a single point."""
    points = [point for _, curve in curves for point in curve]
    if not points:
        return None
    steps = Scale(0.0, max(1.0, *(x for x, _ in points)))
    values = Scale.around(y for _, y in points)
    lines, dotted = [], "mean" if any(kind == "mean" for kind, _ in curves) else "valid"
    for kind, curve in curves:
        placed = [(steps.at(x), round(100 - values.at(y), 3)) for x, y in curve]
        path = " ".join(f"{x:g},{y:g}" for x, y in placed)
        lines.append(ChartLine(kind, path, placed if kind == dotted else []))
    up = [Tick(100 - tick.at, tick.label) for tick in values.ticks(5)]
    return Panel(title, lines, steps.ticks(4), up)
