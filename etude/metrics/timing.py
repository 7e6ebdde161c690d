"""Time: how sound begins, ends and moves on, forwards; an embedding without weights.

Conventions
    wave is float [batch, samples], mono, at -23 LUFS; soft-floored log-mel levels as of `timbre`,
    a frame each 10.7 ms. d is a band's change over two frames; rises are the mean over bands of
    max(d, 0), falls of max(-d, 0). They are kept apart, so that music played backwards is not
    music: notes begin at once and end slowly. One row a clip. Cut clips at random offsets, at
    least 1 s into the music: silence before the first note, or a grid of bars, is heard as well.

Dimensions (59)
    * of rises and of falls: mean, quantiles .5, .9, .99, standard deviation over mean (10)
    * skewness of d in eight groups of bands (8)
    * autocorrelation of rises at 11 lags from .09 to 1.25 s (11)
    * correlation of rises with falls 20 to 190 ms before and after (10)
    * over .25, .5 and 1 s: change of the spectrum's shape and of the level, mean and standard
      deviation (12)
    * quantiles of the level about its median (6); the largest rise and fall (2)

It hears dropouts, blurred or reversed attacks, tempo, uneven time, cuts; not pitch, not harmony.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.metrics.logmel import BANDS
from etude.metrics.timbre import HOP_SECONDS, SoftMel

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

CHANGE = 2  # frames
GROUPS = 8
RISE_LAGS = np.unique(np.geomspace(0.09, 1.25, 11).__truediv__(HOP_SECONDS).round()).astype(int)
FALL_LAGS = np.array([2, 4, 7, 12, 18])
SHAPE_LAGS = np.round(np.array([0.25, 0.5, 1.0]) / HOP_SECONDS).astype(int)
SHORTEST = int(SHAPE_LAGS[-1]) + 30  # frames, 1.3 s
LEVELS = (0.02, 0.1, 0.25, 0.75, 0.9, 0.98)


class Timing:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, 1, 59]`."""

    name = "time"
    dim = 59
    components, deviation_floor, residual = 16, 0.3, 2.0

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.mel = SoftMel(sample_rate)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, 1, 59]; short waves end in silence."""
        levels = self.mel.levels(wave, SHORTEST)
        return np.stack([movement(clip) for clip in levels])[:, None] / UNITS


def movement(levels: Array) -> Array:
    """All figures of one clip's log-mel levels [frames, bands]: [59]."""
    change = levels[CHANGE:] - levels[:-CHANGE]
    rises, falls = change.clip(0).mean(1), (-change).clip(0).mean(1)
    total = levels.mean(1)
    return np.concatenate(
        [
            *(_strength(x) for x in (rises, falls)),
            _skewness(change),
            [_correlation(rises, rises, lag) for lag in RISE_LAGS],
            [_correlation(rises, falls, lag) for lag in FALL_LAGS],
            [_correlation(falls, rises, lag) for lag in FALL_LAGS],
            *(_moved(levels, total, lag) for lag in SHAPE_LAGS),
            np.quantile(total, LEVELS) - np.median(total),
            [rises.max(), falls.max()],
        ]
    )


def _strength(x: Array) -> Array:
    mean = x.mean()
    return np.array([mean, *np.quantile(x, (0.5, 0.9, 0.99)), x.std() / max(mean, 0.1)])


def _skewness(change: Array) -> Array:
    """Third moment over the deviation's cube, of groups of bands; of what stands still 0: [8]."""
    groups = change.reshape(len(change), GROUPS, BANDS // GROUPS)
    centred = groups - groups.mean((0, 2), keepdims=True)
    deviation = np.sqrt(np.square(centred).mean((0, 2)))
    found: Array = (centred**3).mean((0, 2)) / np.maximum(deviation, 0.3) ** 3
    return found


def _correlation(before: Array, after: Array, lag: int) -> float:
    """Of one curve with another so many frames later."""
    a, b = before - before.mean(), after - after.mean()
    energy = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a[:-lag] * b[lag:]).sum() / max(energy, 1e-6))


def _moved(levels: Array, total: Array, lag: int) -> Array:
    """How far shape and level have moved after so many frames: mean, deviation of each: [4]."""
    shape = levels - total[:, None]
    moved = np.abs(shape[lag:] - shape[:-lag]).mean(1)
    louder = np.abs(total[lag:] - total[:-lag])
    return np.array([moved.mean(), moved.std(), louder.mean(), louder.std()])


# What chorales deviate by in each group, to one digit: dB, or shares of one.
UNITS = np.concatenate(
    [
        *([0.1, 0.05, 0.6, 1.5, 0.4], [0.1, 0.1, 0.1, 0.1, 0.05]),
        *(np.full(GROUPS, 1.0), np.full(len(RISE_LAGS), 0.05), np.full(2 * len(FALL_LAGS), 0.08)),
        *(np.tile([0.7, 0.7, 1.5, 1.0], len(SHAPE_LAGS)), np.full(len(LEVELS), 2.0), [3.0, 0.2]),
    ]
)
