"""Timbre: log-mel statistics at one loudness, with a soft floor; an embedding without weights.

Conventions
    wave is float [batch, samples], mono. Every clip is brought to -23 LUFS first (`loudness`), so
    that 3 dB more or less change nothing; level is a signal of its own. A band's level is
    10 log10(p + 10^-7.5), a sine of full scale having p = 1: with the hard floor of `logmel`, -60
    dB, nothing under it is heard, however often it comes. Windows of 0.96 s, half overlapping.

Dimensions (192)
    Of 64 mel bands the mean, standard deviation and mean absolute slope, in dB.

In a distance (`space.Space`): deviations of at least 3 dB, 16 principal components of the
reference, and one coordinate for what they leave over. What the reference never does (a whistle
above the music) lies outside of its components: without that coordinate no distance hears it.

It hears artefacts, filters, noise, clipping, instruments, register and density; it is not blind to
key, and knows next to nothing of which notes sound together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etude.audio.windows import hann
from etude.metrics.logmel import BANDS, COMPONENTS, DEVIATION_FLOOR_DB, mel_filters
from etude.metrics.loudness import level

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

FRAME_SECONDS, HOP_SECONDS, WINDOW_SECONDS = 1024 / 24000, 256 / 24000, 0.96
SOFT_FLOOR_DB = -75.0


class SoftMel:
    """Log-mel levels of waves at one loudness."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.frame = fft.next_fast_len(round(FRAME_SECONDS * sample_rate), real=True)
        self.hop = max(1, round(HOP_SECONDS * sample_rate))
        self.filters = mel_filters(BANDS, self.frame, sample_rate)

    def levels(self, wave: Array, shortest: int = 1) -> Array:
        """Levels in dB: [batch, frames, 64]; of silence after a short wave this many frames."""
        wave = level(np.atleast_2d(wave), self.sample_rate)
        least = self.frame + (shortest - 1) * self.hop
        wave = np.pad(wave, ((0, 0), (0, max(least - wave.shape[1], 0))))
        frames = np.lib.stride_tricks.sliding_window_view(wave, self.frame, axis=1)
        frames = frames[:, :: self.hop].astype(np.float32)
        shape = hann(self.frame).astype(np.float32)
        spectrum = np.abs(fft.rfft(frames * shape, axis=-1)).astype(np.float64)
        power = (spectrum * (4 / self.frame)) ** 2 @ self.filters.T
        found: Array = 10 * np.log10(power + 10 ** (SOFT_FLOOR_DB / 10))
        return found


class Timbre:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, windows, 192]`."""

    name = "timbre"
    dim = 3 * BANDS
    components, deviation_floor, residual = COMPONENTS, DEVIATION_FLOOR_DB, 2.0

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.mel = SoftMel(sample_rate)
        self.window = round(WINDOW_SECONDS * sample_rate / self.mel.hop)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, windows, 192]; at least one window, padded if short."""
        levels = self.mel.levels(wave, self.window)
        starts = range(0, levels.shape[1] - self.window + 1, self.window // 2)
        windows = np.stack([levels[:, s : s + self.window] for s in starts], axis=1)
        slope = np.abs(np.diff(windows, axis=2)).mean(2)
        return np.concatenate([windows.mean(2), windows.std(2), slope], axis=-1)
