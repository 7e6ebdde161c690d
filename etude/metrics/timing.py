"""Time: how sound begins, ends and moves on, forwards; an embedding without weights.

Conventions
    wave is float [batch, samples], mono, at -23 LUFS; soft-floored log-mel levels as of `timbre`,
    a frame each 10.7 ms. d is a band's change over two frames; rises are the mean over bands of
    max(d, 0), falls of max(-d, 0). They are kept apart, so that music played backwards is not
    music: notes begin at once and end slowly. A beat is the lag from .4 to .75 s at which the
    clip's rises are most alike (Ellis, JNMR 36, 2007), so that tempo counts little. One row a
    clip. Cut clips at random offsets, at least 1 s into the music: silence before the first note,
    or a grid of bars, is heard as well.

Dimensions (59)
    * of rises and of falls: mean, quantiles .5, .9, .99, standard deviation over mean (10)
    * skewness of d in eight groups of bands (8)
    * autocorrelation of rises at five lags from 20 to 130 ms (5): the attack's own shape; over lags
      from .15 to 1 s its quantiles, highest value and that one's sharpness (6). At fixed lags of
      beats a tempo a tenth slower would be the farthest of all from a corpus of one tempo
    * correlation of rises with falls 20 to 190 ms before and after (10)
    * over half a beat, one and two: change of the spectrum's shape and of the level, mean and
      standard deviation (12)
    * quantiles of the level about its median (6); the largest rise and fall (2)

It hears dropouts, blurred or reversed attacks, uneven time, cuts; not pitch, not harmony, and of
tempo little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.metrics.logmel import BANDS
from etude.metrics.timbre import SoftMel

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

CHANGE = 2  # frames
GROUPS = 8
# In frames of 10.7 ms.
ATTACK_LAGS = (2, 4, 6, 8, 12)
BEAT_LAGS = range(14, 94)  # .15 to 1 s
FALL_LAGS = (2, 4, 7, 12, 18)
PERIODS = range(37, 71)  # .4 to .75 s: where a clip's beat is looked for
SHAPE_LAGS = (0.5, 1.0, 2.0)  # beats
SHORTEST = 180
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
    """All figures of one clip's log-mel levels [frames, bands]: [59].

    Example:
        >>> import numpy as np
        >>> movement(np.random.default_rng(0).random((400, 64))).shape
        (59,)
    """
    change = levels[CHANGE:] - levels[:-CHANGE]
    rises, falls = change.clip(0).mean(1), (-change).clip(0).mean(1)
    total, period = levels.mean(1), beat_period(rises)
    return np.concatenate(
        [
            *(_strength(x) for x in (rises, falls)),
            _skewness(change),
            [_correlation(rises, rises, lag) for lag in ATTACK_LAGS],
            _beats(rises),
            [_correlation(rises, falls, lag) for lag in FALL_LAGS],
            [_correlation(falls, rises, lag) for lag in FALL_LAGS],
            *(_moved(levels, total, round(beats * period)) for beats in SHAPE_LAGS),
            np.quantile(total, LEVELS) - np.median(total),
            [rises.max(), falls.max()],
        ]
    )


def beat_period(rises: Array) -> int:
    """The lag from .4 to .75 s at which the rises in level are most alike, in frames.

    Example:
        >>> import numpy as np
        >>> rises = np.zeros(400)
        >>> rises[::50] = 1  # an attack each 50 frames
        >>> beat_period(rises)
        50
    """
    centred = rises - rises.mean()
    alike = [(centred[:-k] * centred[k:]).sum() for k in PERIODS if k < len(rises)]
    return PERIODS[int(np.argmax(alike))]


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
    """Of one curve with another this many frames later."""
    a, b = before - before.mean(), after - after.mean()
    energy = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a[:-lag] * b[lag:]).sum() / max(energy, 1e-6))


def _beats(rises: Array) -> Array:
    """How regular the rises are, at whatever tempo: [6].

    Quantiles of the autocorrelation over lags from .15 to 1 s, its highest value, and how far that
    stands above its neighbours at 32 ms: a peak at one beat's lag or another's counts the same.
    """
    centred = rises - rises.mean()
    full = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    found = full[BEAT_LAGS.start - 3 : BEAT_LAGS.stop + 3] / max(float(full[0]), 1e-6)
    inner = found[3:-3]
    peak = int(inner.argmax())
    sharp = inner[peak] - (found[peak] + found[peak + 6]) / 2
    return np.array([*np.quantile(inner, (0.1, 0.25, 0.5, 0.9)), inner[peak], sharp])


def _moved(levels: Array, total: Array, lag: int) -> Array:
    """How far shape and level have moved after this many frames: mean, deviation of each: [4]."""
    shape = levels - total[:, None]
    moved = np.abs(shape[lag:] - shape[:-lag]).mean(1)
    louder = np.abs(total[lag:] - total[:-lag])
    return np.array([moved.mean(), moved.std(), louder.mean(), louder.std()])


# What chorales deviate by in each group, to one digit: dB, or shares of one.
UNITS = np.concatenate(
    [
        *([0.1, 0.05, 0.6, 1.5, 0.4], [0.1, 0.1, 0.1, 0.1, 0.05]),
        *(np.full(GROUPS, 1.0), np.full(11, 0.05), np.full(2 * len(FALL_LAGS), 0.08)),
        *(np.tile([0.7, 0.7, 1.5, 1.0], len(SHAPE_LAGS)), np.full(len(LEVELS), 2.0), [3.0, 0.2]),
    ]
)
