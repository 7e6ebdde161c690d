"""From ticks to seconds."""

from __future__ import annotations

import numpy as np

DEFAULT_TEMPO = 500_000  # microseconds per quarter note: 120 bpm


def seconds_at(ticks: np.ndarray, tempos: np.ndarray, ticks_per_quarter: int) -> np.ndarray:
    """The times of ticks under a tempo map.

    Args:
        ticks: int [n], not negative, in any order.
        tempos: int [m, 2] of (tick, microseconds per quarter note), in the order of the file; of
            several at one tick the last holds. A tempo of 0 means nothing and is passed over.
        ticks_per_quarter: at least 1.

    Returns:
        float64 [n], seconds.
    """
    tempos = np.asarray(tempos, dtype=np.int64).reshape(-1, 2)
    if len(tempos) == 1 and tempos[0, 0] == 0 < tempos[0, 1]:  # most files; the sums are the same
        return 0.0 + (ticks - 0.0) * (tempos[0, 1] / (1e6 * ticks_per_quarter))
    tempos = tempos[tempos[:, 1] > 0]
    tempos = tempos[np.argsort(tempos[:, 0], kind="stable")]
    starts = np.concatenate([[0], tempos[:, 0]]).astype(np.float64)
    per_tick = np.concatenate([[DEFAULT_TEMPO], tempos[:, 1]]) / (1e6 * ticks_per_quarter)
    begins = np.concatenate([[0.0], np.cumsum(np.diff(starts) * per_tick[:-1])])
    index = np.searchsorted(starts, ticks, side="right") - 1
    return begins[index] + (ticks - starts[index]) * per_tick[index]
