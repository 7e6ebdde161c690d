"""How much of a sound's peaks lies on the equal-tempered grid.

VERSION of etude/metrics/signals.py counts for these figures too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etude.audio.windows import hann

Array = NDArray[np.float64]

N_FFT = 8192
LOWEST_HZ, HIGHEST_HZ = 200.0, 2500.0
TOLERANCE_CENTS = 25.0


def power_spectra(wave: Array) -> Array:
    """Power spectra [frames, bins] of half-overlapping Hann windows; short waves are padded."""
    padded = np.pad(wave, (0, max(N_FFT - len(wave), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[:: N_FFT // 2]
    return np.abs(fft.rfft(frames * hann(N_FFT), axis=-1)) ** 2


def share_on_grid(power: Array, rate: int) -> float:
    """Share of the peak power of spectra on the grid; NaN when there is no peak (silence)."""
    top = min(HIGHEST_HZ, 0.49 * rate)
    low, high = (int(f * N_FFT / rate) for f in (LOWEST_HZ, top))
    left, here, right = (
        power[:, low - 1 : high - 1],
        power[:, low:high],
        power[:, low + 1 : high + 1],
    )
    peaks = (here > left) & (here >= right) & (here > 1e-10)
    if not peaks.any():
        return float("nan")
    log_left, log_here, log_right = (np.log(p + 1e-20) for p in (left, here, right))
    curvature = log_left - 2 * log_here + log_right
    # Vertex of the parabola through three bins: the peak's true place between them.
    shift = 0.5 * (log_left - log_right) / np.where(peaks, curvature, -1.0)
    hertz = (np.arange(low, high) + shift.clip(-0.5, 0.5)) * rate / N_FFT
    cents = 1200 * np.log2(hertz / 440)
    near = np.abs(cents - 100 * np.round(cents / 100)) <= TOLERANCE_CENTS
    return float(here[peaks & near].sum() / here[peaks].sum())


def tempered_share(wave: Array, rate: int) -> float:
    """The same of a wave [samples]."""
    return share_on_grid(power_spectra(wave), rate)
