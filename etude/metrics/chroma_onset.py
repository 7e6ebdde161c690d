"""Semitones, chroma and onsets: a second embedding that needs no weights.

Per window of 0.96 s (half overlapping), 82 figures: level of each semitone from C2 to B6 in dB
(60), what share of its power each of the 12 pitch classes has, in percent (12), the lags of
onset strength's autocorrelation from 43 to 341 ms, in percent (7), and of onset strength the mean,
standard deviation and highest value (3). Before a distance they are standardised (deviations of
at least 2) and reduced to 16 principal components of the reference. It hears pitch, harmony and
rhythm, where `logmel` hears timbre and register.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etude.audio.windows import hann

Array = NDArray[np.float64]

VERSION = 1
WINDOW_SECONDS, FRAME_SECONDS, HOP_SECONDS = 0.96, 0.17, 128 / 6000
LOWEST_MIDI, SEMITONES = 36, 60
FLOOR_DB = -60.0
LAGS = range(2, 17, 2)[:7]
STRENGTH_DB = 12.0  # an onset strength of 1: all semitones rise by this much within a hop
COMPONENTS, DEVIATION_FLOOR = 16, 2.0


class ChromaOnset:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, windows, 82]`."""

    name = "chroma_onset"
    dim = SEMITONES + 12 + len(LAGS) + 3
    components, deviation_floor = COMPONENTS, DEVIATION_FLOOR

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.hop = max(1, round(HOP_SECONDS * sample_rate))
        self.frame = fft.next_fast_len(round(FRAME_SECONDS * sample_rate), real=True)
        self.window = round(WINDOW_SECONDS / HOP_SECONDS)
        self.filters = semitone_filters(self.frame, sample_rate)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, windows, 82]; at least one window, padded if short."""
        power = self._power(np.atleast_2d(wave))
        starts = range(0, power.shape[1] - self.window + 1, self.window // 2)
        windows = np.stack([power[:, s : s + self.window] for s in starts], axis=1)
        return np.concatenate([_semitones(windows), _chroma(windows), _onsets(windows)], axis=-1)

    def _power(self, wave: Array) -> Array:
        """Power of each semitone, a sine of full scale has 1: [batch, frames, semitones].

        Frames stand around their time, half a frame beyond both ends, so that a clip of 2 s has
        no fewer windows than `logmel` finds in it.
        """
        least = (self.window - 1) * self.hop + 1
        behind = max(least - wave.shape[1], 0) + self.frame // 2
        padded = np.pad(wave, ((0, 0), (self.frame // 2, behind)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.frame, axis=1)
        frames = frames[:, :: self.hop].astype(np.float32)
        shape = hann(self.frame).astype(np.float32)
        spectrum = np.abs(fft.rfft(frames * shape, axis=-1)) * (4 / self.frame)
        found: Array = spectrum.astype(np.float64) ** 2 @ self.filters.T
        return found


def _decibels(power: Array) -> Array:
    found: Array = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return found


def _semitones(power: Array) -> Array:
    """Mean level over a window, in dB: [batch, windows, 60]."""
    return _decibels(power.mean(2))


def _chroma(power: Array) -> Array:
    """Shares of the pitch classes, C first, in percent; of silence all 0: [batch, windows, 12]."""
    whole = power.mean(2)
    classes = whole.reshape(*whole.shape[:2], SEMITONES // 12, 12).sum(2)
    total = classes.sum(-1, keepdims=True)
    audible = total > SEMITONES * 10 ** (FLOOR_DB / 10)
    return 100 * np.where(audible, classes / np.maximum(total, 1e-12), 0.0)


def _onsets(power: Array) -> Array:
    """Autocorrelation and strength of rises in level: [batch, windows, 10]."""
    rises = np.diff(_decibels(power), axis=2).clip(0).mean(-1)
    strength = rises / STRENGTH_DB * 100
    centred = strength - strength.mean(-1, keepdims=True)
    energy = np.maximum((centred**2).sum(-1), 1e-9)
    lags = [100 * (centred[..., k:] * centred[..., :-k]).sum(-1) / energy for k in LAGS]
    return np.stack([*lags, strength.mean(-1), strength.std(-1), strength.max(-1)], axis=-1)


def semitone_filters(n_fft: int, sample_rate: int) -> Array:
    """Triangles from semitone to semitone on a log axis, A = 440 Hz: [60, n_fft // 2 + 1].

    The lowest are narrower than a bin is wide; they then take what the nearest bin has.

    Example:
        >>> filters = semitone_filters(4096, 24000)
        >>> filters.shape, int(filters[69 - LOWEST_MIDI].argmax())  # 440 Hz: 75 bins of 5.86 Hz
        ((60, 2049), 75)
    """
    hertz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    midi = 69 + 12 * np.log2(np.maximum(hertz, 1e-3) / 440)
    centres = np.arange(LOWEST_MIDI, LOWEST_MIDI + SEMITONES)
    filters = np.clip(1 - np.abs(midi - centres[:, None]), 0, None)
    empty = np.flatnonzero(filters.sum(1) == 0)
    nearest = np.abs(midi - centres[empty, None]).argmin(1)
    there = 440 * 2 ** ((centres[empty] - 69) / 12) < sample_rate / 2
    filters[empty[there], nearest[there]] = 1
    return filters
