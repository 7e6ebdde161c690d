"""The Hann window, without scipy.signal: its import takes a second of every short job."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray


@cache
def hann(samples: int) -> NDArray[np.float64]:
    """The periodic Hann window, as scipy's get_window("hann", samples) to the bit: [samples].

    Raises:
        ValueError: fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"a window of {samples} samples")
    turn = np.linspace(-np.pi, np.pi, samples + 1)[:-1]
    window = 0.5 + 0.5 * np.cos(turn)
    window.flags.writeable = False  # every caller has the same one
    return window
