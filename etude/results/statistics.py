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
    to 0, and a note says so.

Intervals, 95 %
    * several trainings: the mean of the trainings' means, Student's t with T - 1 degrees of
      freedom; exact for a balanced design, whatever the components are;
    * these very trainings (of one training nothing else can be said): Student's t over the draws
      within them, or the sampling of one cell alone. It says nothing of another training;
    * of the share of training in the variance: exact for a balanced design (Searle et al., 3.8),
      from F = MS_train / MS_draw. Without two draws of a training there is none.
    Never narrower than the known sampling alone allows.

Scale
    What is positive and skewed (a Fréchet distance) is averaged and compared as logarithms: the
    mean is a geometric one, a difference a ratio, an interval never reaches 0.

Two systems
    Welch's t on the two means with Satterthwaite's degrees of freedom. Training 0 of two systems
    shares nothing with each other but a number, so that they are not paired by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from scipy.special import fdtri, ndtr, stdtr, stdtrit

VERSION = 2  # raised when the figures change

NORMAL = 1.959963984540054  # the normal distribution's 97.5 % point
LEVEL = 0.05
TINY = 1e-12  # relative; anything smaller is rounding


@dataclass(frozen=True)
class TrainingFigure:
    """The figure of one training seed and draw; `sampling` is a variance, None if unknown."""

    train_seed: str
    draw: str
    value: float
    sampling: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Components:
    """Variances of one cell by their source; None where the design cannot tell."""

    train: float | None
    draw: float | None
    sampling: float | None
    notes: tuple[str, ...] = ()
    # The share of training in the variance, and its 95 % interval.
    training_share: tuple[float, float, float] | None = None

    def shares(self) -> tuple[float | None, float | None, float | None]:
        """Each source's part of the variance of one cell; None where any is unknown.

        Also where that of training has no interval: three trainings alone say next to nothing.
        """
        others = [part for part in (self.draw, self.sampling) if part is not None]
        total = math.fsum(others)
        if self.train is None:
            share = 0.0 if len(others) == 2 else None
        else:
            share = None if self.training_share is None else self.training_share[0]
        if share is None or total <= 0:
            return None, None, None
        draw, sampling = (
            None if part is None else (1 - share) * part / total
            for part in (self.draw, self.sampling)
        )
        return None if self.train is None else share, draw, sampling


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
        """Two-sided p-value of the hypothesis that the value is 0; None where no error is known.

        An error of 0 (all trainings alike to the last digit: a count, a constant) is not known.
        """
        if not self.error:
            return None
        ratio = -abs(self.value) / self.error
        return float(2 * (ndtr(ratio) if math.isinf(self.df) else stdtr(self.df, ratio)))


def point(df: float) -> float:
    """The 97.5 % point of Student's t; of the normal distribution where df is infinite."""
    return NORMAL if math.isinf(df) else float(stdtrit(df, 1 - LEVEL / 2))


def sampling_variance(low: float | None, high: float | None) -> float | None:
    """The variance that a 95 % interval says, taken as a normal one."""
    if low is None or high is None or not high >= low:
        return None
    return ((high - low) / (2 * NORMAL)) ** 2


def logarithms(cells: Iterable[TrainingFigure]) -> list[TrainingFigure]:
    """Cells on the log scale, their sampling by the delta method: v / y^2.

    An interval that ends at 0 was cut off there: its upper side then speaks for both.

    Raises:
        ValueError: a value is not above 0.
    """
    found = []
    for cell in cells:
        if not cell.value > 0:
            raise ValueError(f"{cell.value} has no logarithm")
        value, low, high, variance = math.log(cell.value), None, None, None
        if cell.low is not None and cell.high is not None:
            around = (cell.high - cell.low) / 2 if cell.low > 0 else cell.high - cell.value
            half = around / cell.value
            low, high, variance = value - half, value + half, (half / NORMAL) ** 2
        found.append(replace(cell, value=value, sampling=variance, low=low, high=high))
    return found


def exponential(found: Estimate) -> Estimate:
    """An estimate of logarithms as one of figures or ratios; error and p stay of the logarithms."""
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return replace(found, value=math.exp(found.value), low=low, high=high)


def components(cells: Sequence[TrainingFigure]) -> Components:
    """Variance by training seed, draw and sampling (see the top of this module).

    What the design cannot tell apart is None, and the notes say with what it is mixed.
    """
    groups = _groups(cells)
    total, trainings = len(cells), len(groups)
    known = [cell.sampling for cell in cells if cell.sampling is not None]
    sampling = fmean(known) if len(known) == total else None
    notes: list[str] = []
    if total == 1:
        return Components(None, None, sampling)
    within = _within(groups, total)
    draw = None if within is None else _clipped(within - (sampling or 0.0), "draw", notes)
    train, share = None, None
    if trainings > 1:
        squares = sum(len(group) ** 2 for group in groups.values())
        per_training = (total - squares / total) / (trainings - 1)
        between, below = _between(groups, cells), (sampling or 0.0) if within is None else within
        train = _clipped((between - below) / per_training, "train_seed", notes)
        if within:
            ends = _share(between / within, per_training, trainings - 1, total - trainings)
            share = (train / (train + within), *ends)
    else:
        notes.append("one training: its share cannot be known")
    if within is None:
        notes.append("one draw of each training: its share is within the training's")
    if sampling is None:
        notes.append("sampling unknown: its share is within the draw's")
    return Components(train, draw, sampling, tuple(notes), share)


def estimate(cells: Sequence[TrainingFigure]) -> Estimate:
    """The mean of the trainings' means and its 95 % interval, over trainings where there are two.

    Raises:
        ValueError: there are no cells, or a value is not finite.
    """
    means = _means(cells)
    if len(means) < 2:
        return these_clips(cells)
    error = math.sqrt(_squares(means) / (len(means) - 1) / len(means))
    return _estimate(cells, error, len(means) - 1.0)


def these_clips(cells: Sequence[TrainingFigure]) -> Estimate:
    """The mean of the trainings' means and its interval for these very trainings.

    Only draws and sampling vary; of other trainings of the system it says nothing.

    Raises:
        ValueError: there are no cells, or a value is not finite.
    """
    groups, total = _groups(cells), len(cells)
    _means(cells)
    if total == 1:
        return _single(cells[0])
    within = _within(groups, total)
    note = "interval of draws and sampling of one training"
    notes = (note if len(groups) == 1 else note.replace("one training", "these trainings"),)
    per_cell = sum(1 / len(group) for group in groups.values()) / len(groups) ** 2
    error = None if within is None else math.sqrt(within * per_cell)
    return _estimate(cells, error, float(total - len(groups)), notes)


def difference(a: Estimate, b: Estimate, shared: float | None = None) -> Estimate:
    """a - b of two estimates that share no training (Welch; Satterthwaite's degrees of freedom).

    Args:
        shared: where both were measured on the same pieces: the variance of a - b by which pieces
            these are. It is added to what the two vary by for themselves, which may be unknown
            then.
    """
    value = a.value - b.value
    seeds = tuple(dict.fromkeys((*a.train_seeds, *b.train_seeds)))
    draws = tuple(dict.fromkeys((*a.draws, *b.draws)))
    found = Estimate(value, None, None, None, math.inf, seeds, draws, Components(None, None, None))
    parts = [(e.error**2, e.df) for e in (a, b) if e.error is not None]
    if shared is not None:
        parts.append((shared, math.inf))
    elif len(parts) < 2:
        return found
    error = math.sqrt(sum(variance for variance, _ in parts))
    if error <= TINY * (abs(a.value) + abs(b.value)):  # rounding, no spread
        return replace(found, error=0.0)
    df = error**4 / below if (below := sum(v**2 / df for v, df in parts)) > 0 else math.inf
    half = point(df) * error
    return replace(found, low=value - half, high=value + half, error=error, df=df)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): none is significant by being one of many."""
    order = np.argsort(values, kind="stable")
    corrected, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = highest
    return corrected


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """p-values corrected so that of all that are under 5 % at most 5 % are false on average.

    Benjamini and Hochberg 1995; holds for independent tests and such as rise and fall together
    (Benjamini and Yekutieli 2001). Where nothing differs at all it is as strict as Holm's.
    """
    order = np.argsort(values, kind="stable")[::-1]
    corrected, lowest = [0.0] * len(values), 1.0
    for below, index in enumerate(order):
        lowest = min(lowest, values[index] * len(values) / (len(values) - below))
        corrected[index] = lowest
    return corrected


def verdict(found: Estimate, corrected: float | None, lower_is_better: bool | None) -> str:
    """`better`, `worse`, `inconclusive`: of the first of two systems, a - b (or its logarithm).

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


def _single(cell: TrainingFigure) -> Estimate:
    error = None if cell.sampling is None else math.sqrt(cell.sampling)
    note = "interval of sampling only: one training, one draw"
    if cell.low is None or cell.high is None:
        note = "no interval: one training, one draw, and the metric gives none"
    seeds, draws = (cell.train_seed,), (cell.draw,)
    parts = components([cell])
    return Estimate(cell.value, cell.low, cell.high, error, math.inf, seeds, draws, parts, (note,))


def _estimate(
    cells: Sequence[TrainingFigure], error: float | None, df: float, notes: tuple[str, ...] = ()
) -> Estimate:
    """Of several cells: the value with this error, or with that of sampling where it is wider."""
    parts, value = components(cells), fmean(_means(cells))
    seeds, draws = tuple(_groups(cells)), tuple(dict.fromkeys(cell.draw for cell in cells))
    notes = (*notes, *parts.notes)
    floor = math.sqrt((parts.sampling or 0.0) / len(cells))
    if error is None and parts.sampling is not None:
        error, df = floor, math.inf
    if error is None:
        return Estimate(value, None, None, None, df, seeds, draws, parts, notes, len(cells))
    half = point(df) * error
    if half < NORMAL * floor:
        notes = (*notes, "interval of sampling alone, which is the wider one")
        half, error, df = NORMAL * floor, floor, math.inf
    return Estimate(
        value, value - half, value + half, error, df, seeds, draws, parts, notes, len(cells)
    )


def _share(ratio: float, draws: float, above: int, below: int) -> tuple[float, float]:
    """The interval of the share of training, from F with these degrees of freedom."""
    ends = (fdtri(above, below, 1 - LEVEL / 2), fdtri(above, below, LEVEL / 2))
    low, high = (max((ratio / float(end) - 1) / draws, 0.0) for end in ends)
    return low / (1 + low), high / (1 + high)


def _means(cells: Sequence[TrainingFigure]) -> list[float]:
    """The mean of each training's values."""
    if not cells or not all(math.isfinite(cell.value) for cell in cells):
        raise ValueError("an estimate needs cells with finite values")
    return [fmean(values) for values in _groups(cells).values()]


def _groups(cells: Iterable[TrainingFigure]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for cell in cells:
        groups.setdefault(cell.train_seed, []).append(cell.value)
    return groups


def _within(groups: dict[str, list[float]], total: int) -> float | None:
    """MS_draw; None where no training has two draws."""
    if total == len(groups):
        return None
    squares = sum(_squares(values) for values in groups.values())
    return squares / (total - len(groups))


def _between(groups: dict[str, list[float]], cells: Sequence[TrainingFigure]) -> float:
    """MS_train."""
    middle = fmean(cell.value for cell in cells)
    squares = sum(len(v) * (fmean(v) - middle) ** 2 for v in groups.values())
    return squares / (len(groups) - 1)


def _squares(values: Sequence[float]) -> float:
    """The sum of squares around the mean."""
    middle = fmean(values)
    return math.fsum((value - middle) ** 2 for value in values)


def _clipped(value: float, name: str, notes: list[str]) -> float:
    if value < 0:
        notes.append(f"the component of {name} came out negative and is set to 0")
    return max(value, 0.0)
