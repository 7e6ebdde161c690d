"""What a clip looks like: a log-frequency spectrogram as a small PNG, the same bytes every time.

All pictures share one frequency axis and one range of levels, so that they can be compared.
32 colours of a palette take a third of the bytes that a figure of a plotting library takes, and
a hundred pictures a second or two.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, sparse

from etude.storage import atomic

Array = NDArray[np.floating[Any]]

WIDTH, HEIGHT = 360, 120
LOWEST_HZ, HIGHEST_HZ = 55.0, 10000.0
LOW_DB, HIGH_DB = -80.0, -15.0  # 0 dB is a sine of full scale
WINDOW_SECONDS = 0.085
LOBE = 3.0  # equivalent noise bandwidth of a Hann window, 1.5 bins, at twice the resolution
LEVELS = 32

# From night to ivory, lightness rising all the way.
ANCHORS = [
    *((14, 17, 32), (41, 38, 84), (96, 48, 116), (163, 58, 106)),
    *((219, 96, 79), (246, 169, 88), (253, 238, 197)),
]


def log_spectrogram(wave: Array, rate: int) -> Array:
    """Levels in dB [HEIGHT, WIDTH], highest frequency first.

    Args:
        wave: [samples], mono, full scale 1.
        rate: Hz; rows above half of it are empty.
    """
    size = 1 << round(np.log2(WINDOW_SECONDS * rate))
    window = np.hanning(size).astype(np.float32)  # a picture has 32 levels: half the time will do
    centres = (np.arange(WIDTH) + 0.5) * len(wave) / WIDTH
    starts = centres.astype(np.int64)[:, None]  # the padding puts the window's middle there
    padded = np.pad(wave.astype(np.float32), size // 2)
    frames = padded[np.minimum(starts + np.arange(size), len(padded) - 1)]
    # Twice the size: a finer grid of frequencies, for the low rows.
    spectrum = fft.rfft(frames * window, 2 * size, axis=1)
    square = (spectrum.real**2 + spectrum.imag**2) * (2 / window.sum()) ** 2
    power = _bands(size + 1, rate / (2 * size)) @ square.T
    return 10 * np.log10(power[::-1] + 1e-12)


@cache
def _bands(bins: int, spacing_hz: float) -> sparse.csr_array:
    """Triangles [HEIGHT, bins], geometrically spaced, each at least a bin wide.

    Sparse, and so without the threads of BLAS, which would fight over the cores that the processes
    of `media.py` have already.

    Their sums are 1, or more where a triangle is wider than a sine's main lobe, whose power is
    that of LOBE bins: a sine has its own level in every row.
    """
    ratio = (HIGHEST_HZ / LOWEST_HZ) ** (1 / (HEIGHT - 1))
    centres = LOWEST_HZ * ratio ** np.arange(HEIGHT)
    half_widths = np.maximum(centres * (ratio - 1), spacing_hz)
    hertz = np.arange(bins) * spacing_hz
    triangles = np.maximum(1 - np.abs(hertz - centres[:, None]) / half_widths[:, None], 0)
    sums = triangles.sum(1, keepdims=True).clip(max=LOBE)
    bands = np.divide(triangles, sums, out=np.zeros_like(triangles), where=sums > 0)
    return sparse.csr_array(bands.astype(np.float32))


def palette() -> NDArray[np.uint8]:
    """The colours of the levels, [LEVELS, 3]."""
    anchors = np.array(ANCHORS, dtype=np.float64)
    places = np.linspace(0, len(anchors) - 1, LEVELS)
    channels = [np.interp(places, np.arange(len(anchors)), channel) for channel in anchors.T]
    return np.stack(channels, 1).round().astype(np.uint8)


def write_spectrogram(wave: Array, rate: int, path: Path) -> None:
    """Draw a clip; silence and the empty clip are dark."""
    levels = log_spectrogram(wave, rate) if len(wave) else np.full((HEIGHT, WIDTH), LOW_DB)
    share = (np.nan_to_num(levels, nan=LOW_DB) - LOW_DB) / (HIGH_DB - LOW_DB)
    indices = (share.clip(0, 1) * (LEVELS - 1)).round().astype(np.uint8)
    picture = Image.frombytes("P", (WIDTH, HEIGHT), indices.tobytes())
    picture.putpalette(palette().tobytes())
    with atomic(path) as temporary:
        picture.save(temporary, "PNG", compress_level=9)
