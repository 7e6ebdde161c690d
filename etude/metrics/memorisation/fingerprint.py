"""An audio fingerprint that finds a stretch of music again, wherever it begins.

Conventions
    wave is float [samples], mono, at RATE; frames are 50 ms apart; a feature is float32
    [frames, BINS], the strength of partials on a grid of thirds of a semitone.

How: levels fall out, because a frame is measured against the clip's own loud moments; timbre partly
falls out, because of each frame only what stands above its own spectral envelope counts. That
spectral peaks survive noise and level is Wang's idea (ISMIR 2003); a grid fine enough to shift
stands for changes of speed as in Six and Leman's Panako (ISMIR 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, sparse

from etude.audio.windows import hann

VERSION = 1  # raised when features or scores change

Array = NDArray[np.float32]

RATE = 8000
N_FFT, HOP = 2048, 400
FRAME_SECONDS = HOP / RATE
LOWEST, HIGHEST = 45, 93  # MIDI notes, 110 to 1760 Hz
THIRDS = 3
BINS = (HIGHEST - LOWEST) * THIRDS
ENVELOPE = 7 * THIRDS  # bins on either side that a partial must stand above
FLOOR_DB = -45.0  # under the clip's loud moments, nothing is heard
SILENT = 1e-4  # a clip whose loudest frame is below this (-80 dBFS) is silent


def filters(rate: int = RATE) -> sparse.csr_array:
    """Triangles on the grid, a third of a semitone or two bins wide: [BINS, N_FFT / 2 + 1].

    Example:
        >>> filters().shape[0] == BINS
        True
    """
    notes = LOWEST + np.arange(BINS) / THIRDS
    centres = 440 * 2 ** ((notes - 69) / 12)
    width = np.maximum(centres * (2 ** (1 / 36) - 1), 1.5 * rate / N_FFT)
    hertz = np.arange(N_FFT // 2 + 1) * rate / N_FFT
    heights = np.maximum(0, 1 - np.abs(hertz[None] - centres[:, None]) / width[:, None])
    return sparse.csr_array(heights.astype(np.float32))


FILTERS = filters()


def features(wave: NDArray[np.floating]) -> Array:
    """float [samples] at RATE -> float32 [frames, BINS]; zeros where nothing sounds.

    Raises:
        ValueError: samples that are not finite.

    Example:
        >>> import numpy as np
        >>> wave = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
        >>> LOWEST + int(semitones(features(wave)).mean(0).argmax())  # A = 440 Hz is MIDI note 69
        69
    """
    if not np.isfinite(wave).all():
        raise ValueError("samples are not finite")
    padded = np.pad(np.asarray(wave, np.float32), (N_FFT // 2, N_FFT // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    window = hann(N_FFT).astype(np.float32)
    magnitude = np.abs(fft.rfft(frames * window, axis=-1)) * np.float32(4 / N_FFT)
    grid: Array = (FILTERS @ magnitude.T.astype(np.float32)).T
    loud = float(np.quantile(grid.max(1), 0.9))
    if loud < SILENT:
        return np.zeros((len(frames), BINS), np.float32)
    decibels = 20 * np.log10(np.maximum(grid / loud, 10 ** (FLOOR_DB / 20))) - FLOOR_DB
    above = decibels - ndimage.uniform_filter1d(decibels, 2 * ENVELOPE + 1, axis=1, mode="nearest")
    return np.sqrt(np.maximum(above, 0, dtype=np.float32)).astype(np.float32)


def shifted(feature: Array, thirds: int) -> Array:
    """The feature as if it sounded this many thirds of a semitone higher.

    Example:
        >>> import numpy as np
        >>> feature = np.zeros((1, BINS))
        >>> feature[0, 30] = 1
        >>> int(shifted(feature, THIRDS).argmax()), int(shifted(feature, -1).argmax())
        (33, 29)
    """
    moved = np.zeros_like(feature)
    if thirds >= 0:
        moved[..., thirds:] = feature[..., : BINS - thirds]
    else:
        moved[..., :thirds] = feature[..., -thirds:]
    return moved


def semitones(feature: Array) -> Array:
    """The strongest third of each semitone: [frames, BINS / 3].

    Example:
        >>> import numpy as np
        >>> feature = np.arange(BINS, dtype=np.float32)[None]
        >>> semitones(feature)[0, :3].tolist()
        [2.0, 5.0, 8.0]
    """
    return feature.reshape(len(feature), BINS // THIRDS, THIRDS).max(2)


def blurred(feature: Array) -> Array:
    """The mean over three frames, so that 50 ms do not matter.

    Example:
        >>> import numpy as np
        >>> blurred(np.array([[0.0], [3.0], [0.0], [0.0]]))[:, 0].tolist()
        [1.0, 1.0, 1.0, 0.0]
    """
    smooth: Array = ndimage.uniform_filter1d(feature, 3, axis=0)
    return smooth


def novelty(feature: Array) -> Array:
    """How much begins at each frame, [frames]: what makes music unlike other music.

    Example:
        >>> import numpy as np
        >>> feature = np.zeros((6, BINS), np.float32)
        >>> feature[3:, 9] = 1  # a note begins at the fourth frame
        >>> novelty(feature).tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    """
    pooled = semitones(feature)
    rise = np.zeros(len(feature), np.float32)
    rise[2:] = np.maximum(0, pooled[2:] - pooled[:-2]).sum(1)
    return rise
