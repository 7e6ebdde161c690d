"""Progression: what follows what within half a second, whatever the key; no weights.

Conventions
    As `harmony`: pitch activations every 0.1 s, frames that sound. One row a clip: what a chord
    goes to needs more of it than a window has. Free of transposition by construction.

Dimensions (48)
    * pitch classes of the clip, turned to the root of its best major scale (12), their entropy (1)
    * tonal distance (1 - cosine of the chroma) over 0.2 and 0.5 s: mean, standard deviation (4)
    * chroma against chroma 0.5 s later at 12 rotations (12): the root's steps, up apart from down
    * activations against those 0.5 s later at -9 to 9 semitones (19): the voices' steps

It hears what is played backwards, grains and blocks of music; not the order of bars (`form`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.audio.activations import HOP_SECONDS, PitchActivations
from etude.metrics.harmony import SCALES, chroma

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

LAGS = (round(0.2 / HOP_SECONDS), round(0.5 / HOP_SECONDS))
STEPS = 9
UNIT = 0.05  # shares and cosines of chorales deviate by about so much


class Progression:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, 1, 48]`."""

    name = "progression"
    dim = 13 + 4 + 12 + 2 * STEPS + 1
    components, deviation_floor, residual = 16, 0.3, 2.0

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.activations = PitchActivations(sample_rate)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, 1, 48]."""
        rows = [self._of_clip(row) for row in np.atleast_2d(wave)]
        return np.stack(rows)[:, None]

    def _of_clip(self, wave: Array) -> Array:
        power = self.activations(wave).audible
        missing = LAGS[-1] + 1 - len(power)
        power = np.pad(power, ((0, max(missing, 0)), (0, 0)), mode="edge")
        shares = chroma(power)
        whole = shares.mean(0)
        turned = np.roll(whole, -int((SCALES @ whole).argmax()))
        entropy = -(whole * np.log(whole + 1e-12)).sum()
        length = np.maximum(np.linalg.norm(shares, axis=1, keepdims=True), 1e-12)
        away = [1 - (shares[k:] * shares[:-k] / length[k:] / length[:-k]).sum(1) for k in LAGS]
        lag = LAGS[-1]
        roots = _rotated(shares[:-lag], shares[lag:])
        parts = [turned, [entropy], [x for d in away for x in (d.mean(), d.std())]]
        found: Array = np.concatenate([*parts, roots, steps(power[:-lag], power[lag:])]) / UNIT
        return found


def _rotated(before: Array, after: Array) -> Array:
    """Mean product of the shares at each rotation, shares of one: [12]."""
    products = np.array([(before * np.roll(after, -k, axis=1)).sum() for k in range(12)])
    return products / max(products.sum(), 1e-12)


def steps(before: Array, after: Array) -> Array:
    """Mean product of the amplitudes at each step from -9 to 9 semitones, shares of one: [19].

    Example:
        >>> import numpy as np
        >>> note, higher = np.eye(24)[[5]], np.eye(24)[[7]]  # a note, and one two semitones higher
        >>> int(steps(note, higher).argmax()) - STEPS
        2
    """
    a, b = np.sqrt(before), np.sqrt(after)
    b = np.pad(b, ((0, 0), (STEPS, STEPS)))
    n = a.shape[1]
    products = np.array([(a * b[:, k : k + n]).sum() for k in range(2 * STEPS + 1)])
    found: Array = products / max(products.sum(), 1e-12)
    return found
