"""What can be measured on one clip alone: harmony on the tempered grid, flatness, level.

Conventions
    wave is float [samples], mono, full scale 1; rate in Hz.

Metrics
    * `tempered_share` (et_grid): share of spectral-peak power between 200 and 2500 Hz that lies
      within 25 cents of the equal-tempered grid (A = 440 Hz). Chance is 0.5.
    * `flatness_db`: geometric over arithmetic mean of the power spectrum, in dB.
    * `level_db`: RMS in dBFS; a clip under -60 dBFS counts as silent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

N_FFT = 8192
LOWEST_HZ, HIGHEST_HZ = 200.0, 2500.0
TOLERANCE_CENTS = 25.0
SILENT_DB = -60.0


def power_spectra(wave: Array, rate: int) -> Array:
    """Power spectra [frames, bins] of half-overlapping Hann windows; short waves are padded."""
    padded = np.pad(wave, (0, max(N_FFT - len(wave), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[:: N_FFT // 2]
    return np.abs(fft.rfft(frames * signal.get_window("hann", N_FFT), axis=-1)) ** 2


def tempered_share(wave: Array, rate: int) -> float:
    """Share of peak power on the grid; NaN when there is no peak (silence)."""
    power = power_spectra(wave, rate)
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


def flatness_db(wave: Array, rate: int) -> float:
    """Spectral flatness in dB: 0 for white noise, far below for tones."""
    power = power_spectra(wave, rate).mean(0) + 1e-12
    return float(10 * (np.log10(power).mean() - np.log10(power.mean())))


def level_db(wave: Array) -> float:
    """RMS in dB below full scale; -inf becomes -120."""
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
    return 20 * float(np.log10(max(rms, 1e-6)))


def evaluate(wave: Array, rate: int) -> dict[str, float]:
    """All metrics of this module for one clip."""
    return {
        "et_grid": tempered_share(wave, rate),
        "flatness_db": flatness_db(wave, rate),
        "level_db": level_db(wave),
    }
