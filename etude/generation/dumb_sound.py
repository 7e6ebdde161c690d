"""Sound without notes, made from the training split's audio.

spectrum_noise  Gaussian noise with the mean power spectrum of the training split, at its level
grains          half seconds from anywhere in the training split, one cross-faded into the next

Conventions
    Waves are float [samples], mono. A spectrum is the one-sided power density of Welch's method
    (Hann, half overlapping, IEEE Trans. Audio Electroacoust. 15, 1967), so that its integral over
    frequency is the mean square.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raised when the same waves give others

Array = NDArray[np.float64]

WINDOW = 2048  # samples of a frame of the spectrum
GRAIN_SECONDS, FADE_SECONDS = 0.5, 0.01


def mean_spectrum(waves: Iterable[np.ndarray], rate: int) -> Array:
    """The mean power density of all waves: float64 [WINDOW / 2 + 1].

    Raises:
        ValueError: there are none.
    """
    from scipy import signal  # takes a second to import, and nothing else here needs it

    total, count = np.zeros(WINDOW // 2 + 1), 0
    for wave in waves:
        padded = np.pad(np.asarray(wave, np.float64), (0, max(WINDOW - len(wave), 0)))
        total += signal.welch(padded, rate, nperseg=WINDOW, detrend=False)[1]
        count += 1
    if not count:
        raise ValueError("a mean needs at least one wave")
    return total / count


def spectrum_noise(density: Array, rate: int, samples: int, random: np.random.Generator) -> Array:
    """Gaussian noise [samples] with a power density as `mean_spectrum` gives it."""
    # White noise of variance 1 has the one-sided density 2 / rate.
    hertz = np.fft.rfftfreq(samples, 1 / rate)
    known = np.linspace(0, rate / 2, len(density))
    gain = np.sqrt(np.interp(hertz, known, density) * rate / 2)
    noise: Array = np.fft.irfft(np.fft.rfft(random.standard_normal(samples)) * gain, samples)
    return noise


def grains(
    cut: Callable[[int], np.ndarray], samples: int, rate: int, seconds: float = GRAIN_SECONDS
) -> Array:
    """Stretches one after the other [samples], each faded into the next over 10 ms.

    Args:
        cut: a stretch of this many samples, another one each time.
        seconds: from the beginning of one to that of the next.
    """
    fade = round(FADE_SECONDS * rate)
    size = min(round(seconds * rate), samples)
    found = np.zeros(samples + size + fade)
    # Stretches have nothing in common, so their powers add: sine and cosine keep the level.
    rise = np.sin(np.linspace(0, np.pi / 2, fade))
    for at in range(0, samples, size):
        part = np.array(cut(size + fade), np.float64)
        part[-fade:] *= rise[::-1]
        if at:
            part[:fade] *= rise
        found[at : at + len(part)] += part
    return found[:samples]
