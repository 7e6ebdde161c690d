"""Log-mel statistics: an embedding that needs no weights.

Per window of 0.96 s (half overlapping): mean, standard deviation and mean absolute slope of 64
log-mel bands in dB, floored 60 dB below full scale: 192 dimensions. Before a distance they are
standardised (deviations of at least 3 dB) and reduced to 16 principal components of the
reference. It hears timbre, register, loudness and density; it knows nothing of harmony.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etude.audio.windows import hann

Array = NDArray[np.float64]

VERSION = 1
BANDS, N_FFT, HOP = 64, 1024, 256
FLOOR_DB = -60.0
WINDOW_SECONDS = 0.96
COMPONENTS, DEVIATION_FLOOR_DB = 16, 3.0


class LogMel:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, windows, 192]`."""

    name = "logmel"
    dim = 3 * BANDS
    components, deviation_floor = COMPONENTS, DEVIATION_FLOOR_DB

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.window = round(WINDOW_SECONDS * sample_rate / HOP)
        self.filters = mel_filters(BANDS, N_FFT, sample_rate)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, windows, 192]; at least one window, padded if short."""
        levels = self.levels(np.atleast_2d(wave))
        missing = self.window - levels.shape[1]
        if missing > 0:
            levels = np.pad(levels, ((0, 0), (0, missing), (0, 0)), constant_values=FLOOR_DB)
        starts = range(0, levels.shape[1] - self.window + 1, self.window // 2)
        windows = np.stack([levels[:, s : s + self.window] for s in starts], axis=1)
        slope = np.abs(np.diff(windows, axis=2)).mean(2)
        return np.concatenate([windows.mean(2), windows.std(2), slope], axis=-1)

    def levels(self, wave: Array) -> Array:
        """Log-mel levels in dB: [batch, frames, bands]."""
        padded = np.pad(wave, ((0, 0), (0, max(N_FFT - wave.shape[1], 0))))
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP]
        window = hann(N_FFT).astype(np.float32)
        spectrum = np.abs(fft.rfft(frames.astype(np.float32) * window, axis=-1))
        # A sine of full scale gives 0 dB.
        power = (spectrum * (4 / N_FFT)) ** 2 @ self.filters.T
        return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


def mel_filters(bands: int, n_fft: int, sample_rate: int) -> Array:
    """Triangles of equal width on the HTK mel scale, peak 1: [bands, n_fft // 2 + 1].

    Example:
        >>> import numpy as np
        >>> filters = mel_filters(bands=40, n_fft=1024, sample_rate=24000)
        >>> filters.shape, bool((np.diff(filters.argmax(1)) > 0).all())  # each above the last
        ((40, 513), True)
    """

    def to_mel(hertz: Array) -> Array:
        return 2595 * np.log10(1 + hertz / 700)

    top = to_mel(np.array(sample_rate / 2))
    edges = 700 * (10 ** (np.linspace(to_mel(np.array(30.0)), top, bands + 2) / 2595) - 1)
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rising, falling), 0, None)
