"""What can be said of the notes of one clip in one number each, and as histograms.

Sources
    muspy (Dong et al., ISMIR 2020, muspy.metrics): pitch_range, pitches_used, pitch_classes_used,
        polyphony, polyphony_rate, scale_consistency, pitch_entropy, pitch_class_entropy,
        groove_consistency, empty_bars.
    MusDr (Wu and Yang, "The Jazz Transformer on the front line", ISMIR 2020):
        pitch_class_entropy_1_bar and _4_bars (H1, H4), groove_similarity (GS).
    MGEval (Yang and Lerch, "On the evaluation of generative models in music", 2018): notes,
        mean_interval, mean_ioi, and the histograms of `vectors`.

Conventions
    Drums are left out. Bars are where the file's time signatures put them (an upbeat is the end of
    a bar), without any of four quarters from its beginning; those before the first and after the
    last note are none. What a clip cannot have (the groove of one bar) is
    NaN. Time-weighted figures are exact sums over stretches between events, which is what the
    sources' time steps become when they are as fine as the ticks.

    Two figures have a resolution of their own and are not muspy's. groove_consistency has 64
    positions a bar, as MusDr's groove has, where muspy has one for each tick: at 480 ticks a
    quarter hardly any position is taken and muspy's figure is near 1 for all music (chorales: 0.940
    here, 1.000 by muspy). empty_bars counts bars of four quarters in which no note begins, from
    the first note's bar to the last note's; muspy's run from tick 0 to the last note's end, so that
    the first bars and a last one that is held count otherwise (up to 0.057 apart on chorales).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes.counts import durations, pitch_classes
from etude.metrics.notes.divergence import entropy_bits
from etude.midi.notes import NoteTable

VERSION = 2  # raised when the figures change

Array = NDArray[np.float64]

UNITS = {
    "pitch_range": "semitones", "pitches_used": "pitches", "pitch_classes_used": "classes",
    "polyphony": "pitches", "polyphony_rate": "share", "scale_consistency": "share",
    "pitch_entropy": "bits", "pitch_class_entropy": "bits", "pitch_class_entropy_1_bar": "bits",
    "pitch_class_entropy_4_bars": "bits", "groove_consistency": "share",
    "groove_similarity": "share", "empty_bars": "share", "notes": "notes",
    "note_density": "notes/s", "mean_interval": "semitones", "mean_ioi": "s",
    "mean_velocity": "velocity",
}  # fmt: skip
POSITIONS = 64  # in a bar, for the groove: MusDr's
MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))
HARMONIC_MINOR = np.isin(np.arange(12), (0, 2, 3, 5, 7, 8, 11))  # muspy's minor


def features(table: NoteTable, seconds: float) -> dict[str, float]:
    """All scalars of a clip that has pitched notes.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> scale = np.array([60, 62, 64, 65, 67, 69, 71, 72])
        >>> table = plain_table(np.arange(8) * 480, np.full(8, 480), scale)
        >>> found = features(table, seconds=4.0)
        >>> [found[name] for name in ("pitch_range", "scale_consistency", "note_density")]
        [12.0, 1.0, 2.0]
    """
    notes = table.without_drums()
    classes = pitch_classes(notes)
    bar = bars(notes)
    groove = onset_grid(notes, bar)
    polyphony, rate = sounding(notes)
    onset_s = np.unique(notes.onset_s)
    return {
        "pitch_range": float(np.ptp(notes.pitch)),
        "pitches_used": float(len(np.unique(notes.pitch))),
        "pitch_classes_used": float((classes > 0).sum()),
        "polyphony": polyphony,
        "polyphony_rate": rate,
        "scale_consistency": scale_consistency(classes),
        "pitch_entropy": float(entropy_bits(np.bincount(notes.pitch, minlength=128).astype(float))),
        "pitch_class_entropy": float(entropy_bits(classes)),
        "pitch_class_entropy_1_bar": windowed_entropy(notes, bar, 1),
        "pitch_class_entropy_4_bars": windowed_entropy(notes, bar, 4),
        "groove_consistency": groove_consistency(groove),
        "groove_similarity": groove_similarity(groove),
        "empty_bars": float((~groove.any(1)).mean()),
        "notes": float(len(notes)),
        "note_density": len(notes) / seconds if seconds > 0 else float("nan"),
        "mean_interval": _mean(np.abs(np.diff(notes.pitch.astype(np.float64)))),
        "mean_ioi": _mean(np.diff(onset_s)),
        "mean_velocity": float(notes.velocity.mean()),
    }


def vectors(table: NoteTable) -> dict[str, Array]:
    """MGEval's histograms of a clip, as shares.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.arange(4) * 480, np.full(4, 480), np.array([60, 67, 60, 67]))
        >>> vectors(table)["pitch_class_histogram"][[0, 7]].tolist()
        [0.5, 0.5]
    """
    notes = table.without_drums()
    classes = notes.pitch.astype(np.int64) % 12
    steps = np.bincount(classes[:-1] * 12 + classes[1:], minlength=144).astype(np.float64)
    return {
        "pitch_class_histogram": pitch_classes(notes) / len(notes),
        "note_length_histogram": durations(notes) / len(notes),
        "pitch_class_transitions": steps / max(steps.sum(), 1),
    }


def bars(notes: NoteTable) -> NDArray[np.int64]:
    """The bar of each note, counted from the first that has one.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> bars(plain_table(np.arange(6) * 480, np.full(6, 480), np.full(6, 60))).tolist()
        [0, 0, 0, 0, 1, 1]
    """
    bar = notes.places().bar
    return bar - bar[:1]


def onset_grid(notes: NoteTable, bar: NDArray[np.int64]) -> NDArray[np.bool_]:
    """At which of 64 positions of each bar a note begins: [bars, 64].

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.array([0, 960]), np.full(2, 480), np.full(2, 60))
        >>> np.flatnonzero(onset_grid(table, bars(table))[0]).tolist()  # the first and third beat
        [0, 32]
    """
    grid = np.zeros((int(bar.max(initial=0)) + 1, POSITIONS), dtype=bool)
    place = notes.places()
    grid[bar, place.offset * POSITIONS // place.length] = True
    return grid


def groove_consistency(grid: NDArray[np.bool_]) -> float:
    """1 - mean share of 64 positions that differ between neighbouring bars (muspy: of ticks).

    Example:
        >>> import numpy as np
        >>> same, other = np.eye(64, dtype=bool)[[0, 0]], np.eye(64, dtype=bool)[[0, 1]]
        >>> groove_consistency(same), groove_consistency(other)
        (1.0, 0.96875)
    """
    return float(1 - (grid[1:] ^ grid[:-1]).mean()) if len(grid) > 1 else float("nan")


def groove_similarity(grid: NDArray[np.bool_]) -> float:
    """MusDr: 1 - mean share of positions that differ, over all pairs of bars.

    Example:
        >>> import numpy as np
        >>> groove_similarity(np.eye(64, dtype=bool)[[0, 0, 0]])
        1.0
    """
    n = len(grid)
    if n < 2:
        return float("nan")
    ones = grid.sum(0)  # per position: pairs that differ are those of a one and a zero
    return float(1 - (ones * (n - ones)).sum() / (n * (n - 1) / 2) / POSITIONS)


def windowed_entropy(notes: NoteTable, bar: NDArray[np.int64], size: int) -> float:
    """MusDr: mean entropy (bits) of the pitch classes of each `size` bars in a row; step one bar.

    Windows without notes are left out; a clip of fewer bars is one window.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.arange(4) * 480, np.full(4, 480), np.array([60, 62, 64, 65]))
        >>> windowed_entropy(table, bars(table), 1)  # four pitch classes alike: two bits
        2.0
    """
    per_bar = np.zeros((int(bar.max(initial=0)) + 1, 12))
    np.add.at(per_bar, (bar, notes.pitch % 12), 1)
    size = min(size, len(per_bar))
    windows = np.lib.stride_tricks.sliding_window_view(per_bar, size, axis=0).sum(-1)
    return float(entropy_bits(windows[windows.any(1)]).mean())


def scale_consistency(classes: Array) -> float:
    """muspy: the largest share of notes in one of the 24 major and harmonic minor scales.

    Example:
        >>> import numpy as np
        >>> classes = np.zeros(12)
        >>> classes[[0, 2, 4, 5, 7, 9, 11]] = 1  # C major
        >>> scale_consistency(classes), scale_consistency(np.ones(12)) < 0.6
        (1.0, True)
    """
    scales = np.array([np.roll(scale, t) for scale in (MAJOR, HARMONIC_MINOR) for t in range(12)])
    return float((scales @ classes).max() / classes.sum())


def sounding(notes: NoteTable) -> tuple[float, float]:
    """muspy: pitches sounding at once, on average where any is; share of time with over two.

    The same pitch twice at once is one. Time counts from the first onset to the last end.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.array([0, 0, 480]), np.full(3, 480), np.array([60, 64, 67]))
        >>> sounding(table)  # two pitches, then one
        (1.5, 0.0)
    """
    ends = notes.onset + notes.duration
    order = np.lexsort((notes.onset, notes.pitch))
    lane = notes.pitch[order].astype(np.int64) * (int(ends.max()) + 1)
    onset, end = lane + notes.onset[order], lane + ends[order]
    reach = np.maximum.accumulate(end)
    first = np.flatnonzero(np.append(True, onset[1:] > reach[:-1]))
    last = np.append(first[1:], len(onset)) - 1
    starts, stops = onset[first] - lane[first], reach[last] - lane[last]
    times = np.concatenate([starts, stops])
    change = np.repeat([1, -1], len(starts))
    order = np.argsort(times, kind="stable")
    level, length = np.cumsum(change[order])[:-1], np.diff(times[order])
    active = length[level > 0].sum()
    return float((level * length).sum() / active), float(length[level > 2].sum() / length.sum())


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")
