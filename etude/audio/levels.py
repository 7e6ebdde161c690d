"""Levels of audio whose full scale is 1.0."""

from __future__ import annotations

import math

import numpy as np

INT16_SCALE = 32768.0


def rms(samples: np.ndarray) -> float:
    """Root mean square over all samples and channels; 0.0 for an empty array."""
    if samples.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def int16_rms(samples: np.ndarray) -> float:
    """RMS in steps of 16-bit audio (0 to 32768), the unit of `cuts.*.rms_threshold`."""
    return rms(samples) * INT16_SCALE


def dbfs(level: float) -> float:
    """A linear level (1.0 is full scale) in decibels; minus infinity for silence."""
    return 20 * math.log10(level) if level > 0 else -math.inf


def fade_out(wave: np.ndarray, rate: int, seconds: float) -> np.ndarray:
    """A copy of a wave [samples] with a raised-cosine fade over its last `seconds`."""
    count = min(round(seconds * rate), len(wave))
    faded = wave.copy()
    if count:
        faded[-count:] *= 0.5 * (1 + np.cos(np.linspace(0, np.pi, count, dtype=np.float32)))
    return faded
