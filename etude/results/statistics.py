"""From the figures of single training seeds and draws to an estimate with its uncertainty.

Conventions
    A cell is one training seed t with one generation seed (draw) d: its value y_td and, where it
    is known, v_td, the variance of its sampling (which clips happened to be made and compared).
    Draws are nested in trainings: draw 0 of two trainings shares no network.

Model
    y_td = mu + train_t + draw_td + sampling_td, all independent, with variances s2_train, s2_draw
    and v. With T trainings, n_t draws of each, N cells:

        MS_draw  = sum_td (y_td - mean_t)^2 / (N - T)                  expects s2_draw + v
        MS_train = sum_t n_t (mean_t - mean)^2 / (T - 1)               expects that + n0 s2_train
        n0       = (N - sum_t n_t^2 / N) / (T - 1)                     (n_t where all are equal)

    so v = mean of v_td, s2_draw = MS_draw - v, s2_train = (MS_train - MS_draw) / n0 (the ANOVA
    estimators; Searle, Casella, McCulloch, Variance Components, 1992, 3.6). A negative one is set
    to 0, and that is said.

Intervals, 95 %
    * several trainings: the mean of the trainings' means, Student's t with T - 1 degrees of
      freedom; exact for a balanced design, whatever the components are;
    * one training, several draws: Student's t over the draws; says nothing of another training;
    * one cell: the interval of its sampling, which says nothing of either.
    Never narrower than the known sampling alone allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

VERSION = 1  # raised when the figures change

NORMAL = 1.959963984540054  # the normal distribution's 97.5 % point
LEVEL = 0.05


@dataclass(frozen=True)
class Cell:
    """The figure of one training seed and draw; `sampling` is a variance, None if unknown."""

    train_seed: str
    draw: str
    value: float
    sampling: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What pairs it with a cell of another experiment."""
        return self.train_seed, self.draw


@dataclass(frozen=True)
class Components:
    """Variances of one cell by their source; None where the design cannot tell."""

    train: float | None
    draw: float | None
    sampling: float | None
    notes: tuple[str, ...] = ()

    def shares(self) -> tuple[float | None, float | None, float | None]:
        """Each source's part of the variance of one cell; None where any is unknown."""
        parts = (self.train, self.draw, self.sampling)
        total = math.fsum(part for part in parts if part is not None)
        if total <= 0 or sum(part is not None for part in parts) < 2:
            return None, None, None
        first, second, third = (None if part is None else part / total for part in parts)
        return first, second, third


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `df` is infinite where the variance is taken as known."""

    value: float
    low: float | None
    high: float | None
    error: float | None
    df: float
    train_seeds: tuple[str, ...]
    draws: tuple[str, ...]
    components: Components
    notes: tuple[str, ...] = ()
    cells: int = 1

    @property
    def p(self) -> float | None:
        """Two-sided p-value of the hypothesis that the value is 0."""
        if self.error is None:
            return None
        if self.error == 0:
            return 0.0 if self.value else 1.0
        ratio = -abs(self.value) / self.error
        return float(2 * (ndtr(ratio) if math.isinf(self.df) else stdtr(self.df, ratio)))


def sampling_variance(low: float | None, high: float | None) -> float | None:
    """The variance that a 95 % interval says, taken as a normal one."""
    if low is None or high is None or not high >= low:
        return None
    return ((high - low) / (2 * NORMAL)) ** 2


def components(cells: Sequence[Cell]) -> Components:
    """Variance by training seed, draw and sampling (see the top of this module).

    What the design cannot tell apart is None, and the notes say with what it is mixed.
    """
    groups = _groups(cells)
    total, trainings = len(cells), len(groups)
    known = [cell.sampling for cell in cells if cell.sampling is not None]
    sampling = float(np.mean(known)) if len(known) == total else None
    notes: list[str] = []
    if total == 1:
        return Components(None, None, sampling)
    within = _within(groups, total)
    draw = None if within is None else _clipped(within - (sampling or 0.0), "draw", notes)
    train = None
    if trainings > 1:
        sizes = np.array([len(group) for group in groups.values()], dtype=float)
        per_training = (total - (sizes**2).sum() / total) / (trainings - 1)
        below = (sampling or 0.0) if within is None else within
        train = _clipped((_between(groups, cells) - below) / per_training, "train_seed", notes)
    else:
        notes.append("one training: its share cannot be known")
    if within is None:
        notes.append("one draw of each training: its share is within the training's")
    if sampling is None:
        notes.append("sampling unknown: its share is within the draw's")
    return Components(train, draw, sampling, tuple(notes))


def estimate(cells: Sequence[Cell]) -> Estimate:
    """The mean of the trainings' means and its 95 % interval.

    Raises:
        ValueError: there are no cells, or a value is not finite.
    """
    if not cells or not all(math.isfinite(cell.value) for cell in cells):
        raise ValueError("an estimate needs cells with finite values")
    groups = _groups(cells)
    means = np.array([np.mean(values) for values in groups.values()])
    parts = components(cells)
    seeds = tuple(groups)
    draws = tuple(dict.fromkeys(cell.draw for cell in cells))
    value = float(means.mean())
    if len(cells) == 1:
        return _single(cells[0], parts, seeds, draws)
    if len(means) > 1:
        error = float(means.std(ddof=1) / math.sqrt(len(means)))
        df = float(len(means) - 1)
        notes = parts.notes
    else:
        within = _within(groups, len(cells)) or 0.0
        error, df = math.sqrt(within / len(cells)), float(len(cells) - 1)
        notes = ("interval of draws and sampling of one training", *parts.notes)
    half = float(stdtrit(df, 1 - LEVEL / 2)) * error
    floor = NORMAL * math.sqrt((parts.sampling or 0.0) / len(cells))
    if half < floor:
        notes = (*notes, "interval of sampling alone, which is the wider one")
        half, error, df = floor, floor / NORMAL, math.inf
    count = len(cells)
    return Estimate(value, value - half, value + half, error, df, seeds, draws, parts, notes, count)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b of two estimates that share nothing (Welch; Satterthwaite's degrees of freedom)."""
    value = a.value - b.value
    notes = ("unpaired",)
    none = Components(None, None, None)
    seeds = tuple(dict.fromkeys((*a.train_seeds, *b.train_seeds)))
    draws = tuple(dict.fromkeys((*a.draws, *b.draws)))
    if a.error is None or b.error is None:
        return Estimate(value, None, None, None, math.inf, seeds, draws, none, notes)
    variances = (a.error**2, b.error**2)
    error = math.sqrt(sum(variances))
    below = sum(v**2 / df for v, df in zip(variances, (a.df, b.df), strict=True))
    df = error**4 / below if below > 0 else math.inf
    point = NORMAL if math.isinf(df) else float(stdtrit(df, 1 - LEVEL / 2))
    low, high = value - point * error, value + point * error
    return Estimate(value, low, high, error, df, seeds, draws, none, notes)


def pair(
    a: Sequence[Cell],
    b: Sequence[Cell],
    sampling: dict[tuple[str, str], float | None] | None = None,
) -> list[Cell]:
    """The differences a - b of cells of the same training seed and draw.

    Args:
        sampling: the variance of each difference, from paired replicates; where it is not known,
            those of the two cells are added up (as if they were independent).
    """
    others = {cell.key: cell for cell in b}
    paired = []
    for cell in a:
        if (other := others.get(cell.key)) is None:
            continue
        variance = (sampling or {}).get(cell.key)
        if variance is None and cell.sampling is not None and other.sampling is not None:
            variance = cell.sampling + other.sampling
        value = cell.value - other.value
        half = None if variance is None else NORMAL * math.sqrt(variance)
        low, high = (None, None) if half is None else (value - half, value + half)
        paired.append(replace(cell, value=value, sampling=variance, low=low, high=high))
    return paired


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): none is significant by being one of many."""
    order = np.argsort(values, kind="stable")
    corrected, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = highest
    return corrected


def verdict(found: Estimate, corrected: float | None, lower_is_better: bool | None) -> str:
    """`better`, `worse`, `inconclusive`: of the first of two experiments, a - b.

    Inconclusive where the interval spans 0, where the corrected p-value is not under 5 %, or where
    there is neither. `differs` where no direction of the metric is the better one.
    """
    if found.low is None or found.high is None or corrected is None:
        return "inconclusive"
    if found.low <= 0 <= found.high or corrected >= LEVEL:
        return "inconclusive"
    if lower_is_better is None:
        return "differs"
    return "better" if (found.value < 0) == lower_is_better else "worse"


def _single(
    cell: Cell, parts: Components, seeds: tuple[str, ...], draws: tuple[str, ...]
) -> Estimate:
    error = None if cell.sampling is None else math.sqrt(cell.sampling)
    note = "interval of sampling only: one training, one draw"
    if cell.low is None or cell.high is None:
        note = "no interval: one training, one draw, and the metric gives none"
    return Estimate(cell.value, cell.low, cell.high, error, math.inf, seeds, draws, parts, (note,))


def _groups(cells: Iterable[Cell]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for cell in cells:
        groups.setdefault(cell.train_seed, []).append(cell.value)
    return groups


def _within(groups: dict[str, list[float]], total: int) -> float | None:
    """MS_draw; None where no training has two draws."""
    if total == len(groups):
        return None
    squares = sum(float(np.var(values) * len(values)) for values in groups.values())
    return squares / (total - len(groups))


def _between(groups: dict[str, list[float]], cells: Sequence[Cell]) -> float:
    """MS_train."""
    middle = float(np.mean([cell.value for cell in cells]))
    squares = sum(len(v) * (float(np.mean(v)) - middle) ** 2 for v in groups.values())
    return squares / (len(groups) - 1)


def _clipped(value: float, name: str, notes: list[str]) -> float:
    if value < 0:
        notes.append(f"the component of {name} came out negative and is set to 0")
    return max(value, 0.0)
