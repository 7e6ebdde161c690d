"""Loudness by ITU-R BS.1770-4 and EBU R 128: integrated, momentary, and the gain to a target.

Conventions
    wave is float [..., samples], mono, full scale 1; rate in Hz. Loudness is in LUFS: the mean
    square after K-weighting (a shelf for the head, a high-pass), -0.691 dB so that a sine of
    997 Hz and 0 dBFS in one channel has -3.01. It is measured in blocks of 400 ms, 75 % overlap;
    blocks under -70 LUFS, then blocks over 10 LU below the mean of the rest, do not count. A wave
    shorter than a block is one block. Silence has -inf.

    The standard gives the filters at 48 kHz only. At other rates they are made again from the
    analogue parameters that give its coefficients to 1e-10 (Mansbridge et al., AES 132, 2012; the
    same in libebur128), by the bilinear transform.

Why not pyloudnorm: it would be one more dependency of every job for sixty lines, it refuses waves
under 400 ms, and at 24 kHz its default shelf is off by 0.1 dB. The tests hold these sixty lines to
the standard's own coefficients and to the signals of EBU Tech 3341.

Metrics
    * `integrated`: LUFS of a whole wave, gated
    * `loudness_spread`: 95th less 10th percentile of the momentary loudness, gated as EBU Tech 3342
      does its range (absolute -70 LUFS, relative -20 LU), but on blocks of 400 ms: its 3 s do not
      fit a clip
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

TARGET_LUFS = -23.0  # EBU R 128
OFFSET_DB = -0.691
BLOCK_SECONDS, HOP_SECONDS = 0.4, 0.1
ABSOLUTE_GATE, RELATIVE_GATE, SPREAD_GATE = -70.0, -10.0, -20.0
# Analogue parameters of the two stages: frequency in Hz, quality; of the shelf its gain in dB.
SHELF_HZ, SHELF_Q, SHELF_DB, SHELF_SLOPE = (
    *(1681.974450955533, 0.7071752369554196),
    *(3.999843853973347, 0.4996667741545416),
)
PASS_HZ, PASS_Q = 38.13547087602444, 0.5003270373238773


@cache
def k_weighting(rate: int) -> Array:
    """The two stages of the K-weighting as second-order sections: [2, 6].

    Example:
        >>> k_weighting(48000).round(4).tolist()[1][:3]  # the high pass of BS.1770-5, table 2
        [1.0, -2.0, 1.0]
    """
    k = np.tan(np.pi * SHELF_HZ / rate)
    high = 10 ** (SHELF_DB / 20)
    middle = high**SHELF_SLOPE
    a0 = 1 + k / SHELF_Q + k * k
    shelf = [
        (high + middle * k / SHELF_Q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - middle * k / SHELF_Q + k * k) / a0,
        *(1.0, 2 * (k * k - 1) / a0, (1 - k / SHELF_Q + k * k) / a0),
    ]
    k = np.tan(np.pi * PASS_HZ / rate)
    a0 = 1 + k / PASS_Q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / PASS_Q + k * k) / a0]
    return np.array([shelf, high_pass])


def momentary(wave: Array, rate: int) -> Array:
    """Loudness of blocks of 400 ms, one every 100 ms, in LUFS: [..., blocks].

    Example:
        >>> import numpy as np
        >>> sine = np.sin(2 * np.pi * 997 * np.arange(48000) / 48000)  # full scale, one second
        >>> momentary(sine, 48000).round(1).tolist()
        [-3.0, -3.0, -3.0, -3.0, -3.0, -3.0, -3.0]
    """
    from scipy import signal  # takes a second to import, and many only ask for VERSION or names

    weighted = signal.sosfilt(k_weighting(rate), wave, axis=-1)
    hop = max(1, round(HOP_SECONDS * rate))
    size = min(round(BLOCK_SECONDS * rate), wave.shape[-1])
    # A sum over a block is the difference of two running sums; rounding must not make it negative.
    running = np.cumsum(np.square(weighted), axis=-1)
    running = np.concatenate([np.zeros((*running.shape[:-1], 1)), running], axis=-1)
    starts = np.arange(0, wave.shape[-1] - size + 1, hop)
    power = (running[..., starts + size] - running[..., starts]).clip(0) / max(size, 1)
    with np.errstate(divide="ignore"):
        found: Array = OFFSET_DB + 10 * np.log10(power)
    return found


def integrated(wave: Array, rate: int) -> Array:
    """Gated loudness of each wave in LUFS, -inf where nothing is above -70: [...].

    Example:
        >>> import numpy as np
        >>> time = np.arange(48000 * 2) / 48000
        >>> sine = np.sin(2 * np.pi * 997 * time)  # ITU-R BS.1770: full scale in one channel
        >>> round(float(integrated(sine, 48000)), 1)
        -3.0
    """
    return np.apply_along_axis(_gated_mean, -1, momentary(wave, rate))


def level(wave: Array, rate: int, target: float = TARGET_LUFS) -> Array:
    """The waves with the gain that brings each to a loudness; silence stays silence.

    Example:
        >>> import numpy as np
        >>> sine = 0.3 * np.sin(np.arange(48000) / 10)
        >>> round(float(integrated(level(sine, 48000, -20.0), 48000)), 2)
        -20.0
    """
    wave = np.asarray(wave, dtype=np.float64)
    found = integrated(wave, rate)
    gain = np.where(np.isfinite(found), 10 ** ((target - found) / 20), 1.0)
    leveled: Array = wave * gain[..., None]
    return leveled


def _mean(blocks: Array) -> float:
    """Mean power of blocks, in LUFS."""
    return float(10 * np.log10(np.mean(10 ** (blocks / 10))))


def _gated_mean(blocks: Array) -> float:
    loud = blocks[blocks > ABSOLUTE_GATE]
    return _mean(loud[loud > _mean(loud) + RELATIVE_GATE]) if len(loud) else -np.inf


def _gated_range(blocks: Array) -> float:
    loud = blocks[blocks > ABSOLUTE_GATE]
    if not len(loud):
        return 0.0
    loud = loud[loud > _mean(loud) + SPREAD_GATE]
    return float(np.subtract(*np.percentile(loud, [95, 10])))


def evaluate(wave: Array, rate: int) -> dict[str, float]:
    """All metrics of this module for one clip [samples]; of silence -120 LUFS, as a level has.

    Example:
        >>> import numpy as np
        >>> sine = np.sin(2 * np.pi * 997 * np.arange(96000) / 48000)
        >>> {name: round(value, 1) + 0.0 for name, value in evaluate(sine, 48000).items()}
        {'loudness': -3.0, 'loudness_spread': 0.0}
    """
    blocks = momentary(wave, rate)
    return {"loudness": max(_gated_mean(blocks), -120.0), "loudness_spread": _gated_range(blocks)}
