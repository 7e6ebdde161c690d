"""Form: how music goes on over 8 s and longer, from beat to beat and bar to bar; no weights.

Conventions
    wave is float [batch, samples], mono, of 8 s or more. Pitch activations (`activations`) are
    averaged over *beats*, whose period is found in each clip (the lag from .4 to .75 s at which the
    rises in level are most alike; Ellis, JNMR 36, 2007), so that tempo does not count. One row a
    clip. Transposition does not count by construction.

Dimensions (12): few, since each that says nothing hides what the others say
    * cost of voice leading from each beat to the next, the earth mover's distance between their
      activations in semitones (Rubner et al., IJCV 40, 2000; between chords: Tymoczko, Science
      313, 2006): mean and upper quartile (2)
    * the same cost folded over three and over four beats: at the phase where it is highest its mean
      and its lowest value, less the mean of all (4). Where bars do not follow each other, every bar
      line is a break
    * self-similarity: cosine of the beats' chroma at 2, 3 and 8 beats (3); the highest mean cosine
      of four beats with four others (1), recurrence (Foote, ACM Multimedia 1999)
    * what stands outside of the clip's best diatonic scale (1); the longest stretch of beats in
      which the notes stay (1)
    Eighteen more were tried and told nothing of shuffled bars: steps and leaps of top note and
    bass, similarity at 1, 4 and 6 beats, the first half against the second.

In a distance: all 12 dimensions, no residual. One row a clip and a small effect: it needs 64 clips
to hear bars in another order, and more or longer ones to measure how much.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from etude.audio import activations
from etude.metrics.harmony import chroma, outside
from etude.metrics.timbre import HOP_SECONDS, SoftMel

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

PERIODS = (0.4, 0.75)
STEADY = 0.9  # cosine of two beats in which the notes stay
FOLDS = (3, 4)
BAR = 4
LAGS = (2, 3, 8)
SHORTEST = 80  # frames of levels, in which the longest beat fits
FEWEST_BEATS = 10  # 8 s of a slow piece have 11


class Form:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, 1, 12]`."""

    name = "form"
    dim = 12
    components, deviation_floor, residual = 12, 0.3, 0.0

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.activations = activations.PitchActivations(sample_rate)
        self.mel = SoftMel(sample_rate)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, 1, 12]."""
        wave = np.atleast_2d(wave)
        rows = [
            figures(beats(self.activations(clip).power, levels))
            for clip, levels in zip(wave, self.mel.levels(wave, SHORTEST), strict=True)
        ]
        return np.stack(rows)[:, None] / UNITS


def beats(power: Array, levels: Array) -> Array:
    """Activations averaged over beats: [beats, 53].

    Args:
        power: of the notes, a frame each 0.1 s.
        levels: log-mel levels of the same clip, a frame each 10.7 ms, for the beat's period.

    Example:
        >>> import numpy as np
        >>> power = np.repeat(np.eye(53)[:8], 5, axis=0)  # a new note each half second
        >>> levels = np.zeros((round(4 / HOP_SECONDS), 40))
        >>> levels[:: round(0.5 / HOP_SECONDS)] = 1  # an attack with each
        >>> beats(power, levels).argmax(1).tolist()
        [1, 2, 3, 4, 5, 6]
    """
    rises = np.diff(levels, axis=0).clip(0).mean(1)
    centred = rises - rises.mean()
    first, last = (round(s / HOP_SECONDS) for s in PERIODS)
    alike = [(centred[:-k] * centred[k:]).sum() for k in range(first, last)]
    period = first + int(np.argmax(alike))
    phase = int(np.argmax([rises[p::period].mean() for p in range(period)]))
    edges = np.arange(phase, len(rises), period) * HOP_SECONDS
    # A frame of activations stands for its middle; the attack's own frame is of two beats.
    middle = np.arange(len(power)) * activations.HOP_SECONDS + activations.FRAME_SECONDS / 2
    inside = [(middle > a + 0.08) & (middle < b - 0.02) for a, b in pairwise(edges)]
    rows = [power[i].mean(0) for i in inside if i.any()]
    return np.array([r for r in rows if r.any()] or [np.zeros(activations.NOTES)])


def figures(power: Array) -> Array:
    """All figures of a clip's beats [beats, 53]; of fewer than ten beats all 0: [12].

    Example:
        >>> import numpy as np
        >>> beat = np.eye(53)[[0, 4, 7, 4] * 4]  # an arpeggio, four times
        >>> found = figures(beat)
        >>> found.shape, round(float(found[0]), 2)  # semitones from beat to beat: 4, 3, 3, 4 or 0
        ((12,), 3.47)
    """
    if len(power) < FEWEST_BEATS:
        return np.zeros(Form.dim)
    shares = power / power.sum(1, keepdims=True)
    # In one dimension the earth mover's distance is the area between the distribution functions.
    cost = np.abs(np.diff(shares.cumsum(1), axis=0)).sum(1)
    classes = chroma(power)
    return np.concatenate(
        [
            [cost.mean(), np.quantile(cost, 0.75)],
            *(_folded(cost, period) for period in FOLDS),
            [_cosines(classes, lag).mean() for lag in LAGS],
            [_recurrence(classes), outside(classes).mean(), _longest(_cosines(np.sqrt(power), 1))],
        ]
    )


def _folded(x: Array, period: int) -> list[float]:
    """At the phase where the mean is highest: that mean and the lowest, less the mean of all."""
    phases = [x[p::period] for p in range(period)]
    best = max(phases, key=lambda part: float(part.mean()))
    return [float(best.mean() - x.mean()), float(best.min() - x.mean())]


def _cosines(rows: Array, lag: int) -> Array:
    """Of each row with the one this many later: [rows - lag]."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    found: Array = (unit[lag:] * unit[:-lag]).sum(1)
    return found


def _recurrence(classes: Array) -> float:
    """The highest mean cosine of four beats with four others."""
    lags = range(BAR, len(classes) - BAR + 1)
    runs = (np.convolve(_cosines(classes, k), np.full(BAR, 1 / BAR), "valid") for k in lags)
    return float(max(run.max() for run in runs))


def _longest(steady: Array) -> float:
    """The longest stretch of beats in which the notes stay, of all beats."""
    best = run = 0
    for same in steady > STEADY:
        run = run + 1 if same else 0
        best = max(best, run)
    return best / len(steady)


# What chorales deviate by, to one digit: semitones, cosines and shares.
UNITS = np.array([0.8, 1.0, 0.5, 0.9, 0.6, 1.0, 0.1, 0.1, 0.1, 0.1, 0.04, 0.06])
