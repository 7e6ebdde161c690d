"""Which pitches sound when: activations of 53 semitones, the ground of harmony and form.

After NNLS chroma (Mauch and Dixon, ISMIR 2010): magnitudes on a log-frequency axis, tuned, made
flat, and explained by notes of falling harmonics (non-negative least squares by multiplicative
updates; Lee and Seung, NIPS 2000). No weights, nothing is learned.

Conventions
    wave is float [samples], mono, at any level. A frame is 0.34 s (Hann), one every 0.1 s. Frames
    30 dB under the clip's loudest hold no note: `sounding` says which do, since silence is not a
    harmony. Activations are powers: an inaudible note (under 5 % of the frame's loudest) is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from etude.audio.windows import hann

VERSION = 1  # raised when the activations change

Array = NDArray[np.float64]

FRAME_SECONDS, HOP_SECONDS = 8192 / 24000, 0.1
PER_SEMITONE = 3  # bins of the log-frequency axis
LOWEST_BIN, HIGHEST_BIN = 33, 100  # MIDI numbers: 55 Hz to 2.6 kHz
LOWEST_NOTE, HIGHEST_NOTE = 36, 88
NOTES = HIGHEST_NOTE - LOWEST_NOTE + 1
HARMONICS, DECAY = 12, 0.8
AROUND = 9  # semitones to each side, over which a spectrum is made flat
UPDATES = 50
TUNING_TOLERANCE = 0.15  # of a bin, 5 cents: a nearer tuning is left as it is
INAUDIBLE = 0.05
SOUNDING_DB = -30.0
BLOCK, BEYOND = 64, 768  # bins


@dataclass(frozen=True)
class Activations:
    """Powers of the notes [frames, 53] from MIDI 36 on, and whether a frame sounds [frames]."""

    power: Array
    sounding: NDArray[np.bool_]

    @property
    def audible(self) -> Array:
        """The frames that sound: [sounding frames, 53]; at least one, of silence all 0."""
        there = self.power[self.sounding]
        return there if len(there) else np.zeros((1, NOTES))


class PitchActivations:
    """Finds the activations of waves of one rate."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.frame = round(FRAME_SECONDS * sample_rate)
        self.hop = max(1, round(HOP_SECONDS * sample_rate))
        self.fft = fft.next_fast_len(2 * self.frame, real=True)  # finer bins for the bass
        filters = log_filters(self.fft, self.frame, sample_rate)
        self.notes = note_spectra(filters, self.frame, self.fft, sample_rate)
        # Without the bins above all notes, but for enough that sums are rounded as with them.
        highest = int(np.flatnonzero(filters.any(1))[-1])
        self.to_log: Array = filters[: highest + BEYOND]
        self.products = self.notes @ self.notes.T

    def __call__(self, wave: Array) -> Activations:
        """The activations of one clip."""
        spectra = self._spectra(wave)
        loudness = np.square(spectra).sum(1)
        sounding = loudness > max(loudness.max() * 10 ** (SOUNDING_DB / 10), 1e-12)
        flat = _flat(np.sqrt(_tuned(spectra)))
        found = np.ones((len(flat), NOTES))
        goal = flat @ self.notes.T
        for _ in range(UPDATES):
            found *= goal / (found @ self.products + 1e-9)
        power = found**2
        power[power < INAUDIBLE * power.max(1, keepdims=True)] = 0
        power[~sounding] = 0
        return Activations(power, sounding)

    def _spectra(self, wave: Array) -> Array:
        """Magnitudes on the log-frequency axis: [frames, bins]."""
        wave = np.pad(wave, (0, max(self.frame - len(wave), 0)))
        frames = np.lib.stride_tricks.sliding_window_view(wave, self.frame)[:: self.hop]
        shaped = frames.astype(np.float32) * hann(self.frame).astype(np.float32)
        spectra = fft.rfft(shaped, self.fft, axis=-1)[:, : len(self.to_log)]
        found: Array = np.abs(spectra) @ self.to_log
        return found.astype(np.float64)


def log_filters(n_fft: int, frame: int, sample_rate: int) -> Array:
    """From bins of an FFT to thirds of a semitone: [n_fft // 2 + 1, bins].

    Triangles as wide as a bin of either axis, whichever is the wider there.
    """
    hertz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    count = (HIGHEST_BIN - LOWEST_BIN + 1) * PER_SEMITONE
    midi = LOWEST_BIN + (np.arange(count) - 1) / PER_SEMITONE
    centres = 440 * 2 ** ((midi - 69) / 12)
    width = np.maximum(centres * (2 ** (1 / 12 / PER_SEMITONE) - 1), sample_rate / frame / 2)
    filters = np.clip(1 - np.abs(hertz[:, None] - centres) / width, 0, None)
    return (filters / np.maximum(filters.sum(0), 1e-9)).astype(np.float32)


def note_spectra(to_log: Array, frame: int, n_fft: int, sample_rate: int) -> Array:
    """What a note looks like on the log-frequency axis: [53, bins].

    Twelve harmonics, each the main lobe of the window as the filters show it, peak .8^(h - 1).
    """
    hertz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    found, filters = np.zeros((NOTES, to_log.shape[1])), to_log.astype(np.float64)
    for row, midi in enumerate(range(LOWEST_NOTE, HIGHEST_NOTE + 1)):
        for h in range(1, HARMONICS + 1):
            x = (hertz - h * 440 * 2 ** ((midi - 69) / 12)) * frame / sample_rate
            # A Hann window's transform, |x| < 2: sinc(x) / (1 - x^2). Whole blocks of bins, so that
            # sums are rounded as those over all bins are.
            first, last = np.searchsorted(x, (-2, 2)) // BLOCK * BLOCK + (0, BLOCK)
            x = x[first:last]
            safe = np.where(np.abs(np.abs(x) - 1) < 1e-6, x + 1e-5, x)
            lobe = np.where(np.abs(x) < 2, np.sinc(safe) / (1 - safe**2), 0)
            seen = np.sqrt(np.clip(lobe, 0, None) @ filters[first:last])
            if seen.max() > 0.1:  # a harmonic beyond the axis is not seen
                found[row] += DECAY ** (h - 1) * seen / seen.max()
    return found


def _tuned(spectra: Array) -> Array:
    """The spectra moved so that most of their power stands at the middle bin of a semitone."""
    profile = np.square(spectra).sum(0)
    turn = np.exp(2j * np.pi * (np.arange(len(profile)) - 1) / PER_SEMITONE)
    shift = float(np.angle(profile @ turn)) / (2 * np.pi) * PER_SEMITONE
    if abs(shift) < TUNING_TOLERANCE:
        return spectra
    moved: Array = ndimage.shift(spectra, (0, -shift), order=1, mode="nearest")
    return moved


def _flat(spectra: Array) -> Array:
    """Less the running mean, over the running deviation: brightness and level go, peaks stay."""
    size = 2 * AROUND * PER_SEMITONE + 1
    mean = ndimage.uniform_filter1d(spectra, size, axis=1, mode="reflect")
    square = ndimage.uniform_filter1d(spectra**2, size, axis=1, mode="reflect")
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    lowest = 1e-3 * spectra.max(initial=1e-9)
    flat: Array = (spectra - mean).clip(0) / np.maximum(deviation, max(lowest, 1e-9))
    return flat
