"""What can be measured on one clip alone: harmony on the tempered grid, flatness, level.

Conventions
    wave is float [samples], mono, full scale 1; rate in Hz.

Metrics
    * `share_on_grid` (et_grid): share of spectral-peak power between 200 and 2500 Hz that lies
      within 25 cents of the equal-tempered grid (A = 440 Hz). Chance is 0.5.
    * `flatness_db`: geometric over arithmetic mean of the power spectrum, in dB.
    * `level_db`: RMS in dBFS; a clip under -60 dBFS counts as silent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.audio.tempered import power_spectra, share_on_grid

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

SILENT_DB = -60.0


def flatness_db(power: Array) -> float:
    """Spectral flatness in dB of spectra [frames, bins]: 0 for white noise, low for tones.

    Example:
        >>> import numpy as np
        >>> round(flatness_db(np.ones((4, 100))), 6)  # as flat as white noise
        0.0
        >>> flatness_db(np.eye(100)[:1]) < -60  # one tone
        True
    """
    power = power.mean(0) + 1e-12
    return float(10 * (np.log10(power).mean() - np.log10(power.mean())))


def level_db(wave: Array) -> float:
    """RMS in dB below full scale; -inf becomes -120.

    Example:
        >>> import numpy as np
        >>> round(level_db(np.full(100, 0.1)), 6), level_db(np.zeros(100))
        (-20.0, -120.0)
    """
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
    return 20 * float(np.log10(max(rms, 1e-6)))


def evaluate(wave: Array, rate: int) -> dict[str, float]:
    """All metrics of this module for one clip.

    Example:
        >>> import numpy as np
        >>> sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24000) / 24000)
        >>> found = evaluate(sine, 24000)
        >>> round(found["et_grid"], 2), round(found["level_db"], 1), found["flatness_db"] < -60
        (1.0, -9.0, True)
    """
    power = power_spectra(wave)
    return {
        "et_grid": share_on_grid(power, rate),
        "flatness_db": flatness_db(power),
        "level_db": level_db(wave),
    }
