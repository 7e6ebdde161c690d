"""What sounds at each beat of a clip: the grid that the figures of counterpoint.py are read on.

A beat is a quarter of the file. Its phase is the sixteenth at which most notes begin, neighbours
counted by half: scores have it at 0, a performance that was transcribed may have it anywhere. What
sounds an eighth of a quarter after a beat is that beat's chord, so that notes which are a little
late still belong to it. Bars are where the file's time signatures put them (an upbeat is the end of
its bar); without any they have four beats from the beginning of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etude.midi import bars
from etude.midi.notes import NoteTable
from etude.midi.tempo import seconds_at

PARTS = 16  # of a beat, to find its phase
MOST_BEATS = 4096  # more are no clip; a note an hour later would only take memory

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ClipBeats:
    """The beats of a clip from the first to the last at which something sounds.

    Attributes: number (int64 [n], beats since the beginning of the file), sounding (bool [n, 128]),
    tracks (int64 [n, tracks]: the highest pitch of each track at each beat, -1 where it rests; no
    columns where the notes have no tracks), bar (int64 [n]: the bar of each beat).
    """

    number: Integers
    sounding: Bools
    tracks: Integers
    bar: Integers

    def __len__(self) -> int:
        return len(self.number)

    @property
    def classes(self) -> Integers:
        """How many pitches each pitch class has at each beat: int64 [n, 12]."""
        octaves = np.pad(self.sounding, ((0, 0), (0, 4))).reshape(len(self), 11, 12)
        return octaves.sum(1)

    @property
    def masks(self) -> Integers:
        """The set of pitch classes of each beat, a bit each (C is 1): int64 [n]."""
        return (self.classes > 0) @ (1 << np.arange(12))


def read_beats(table: NoteTable, start_s: float, seconds: float) -> ClipBeats:
    """The beats of a stretch; none where nothing sounds at any.

    Args:
        table: the notes that sound in it, those included that began before.
        start_s: where the stretch begins, in seconds.
        seconds: how long it is.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> chord = plain_table(np.zeros(3, int), np.full(3, 960), np.array([60, 64, 67]))
        >>> beats = read_beats(chord, 0.0, 1.0)  # two quarters
        >>> len(beats), np.flatnonzero(beats.sounding[0]).tolist()
        (2, [60, 64, 67])
    """
    notes = table.without_drums()
    quarter = notes.ticks_per_quarter
    ends = notes.onset + notes.duration
    first = int(notes.onset.min(initial=0)) // quarter
    last = min(int(ends.max(initial=0)) // quarter, first + MOST_BEATS)
    number = np.arange(first - 1, last + 1).clip(0) if len(notes) else np.zeros(0, np.int64)
    number = np.unique(number)
    ticks = number * quarter + _phase(notes) + max(quarter // 8, 1)
    at = seconds_at(ticks, notes.tempos, quarter)
    number, ticks = (x[(at >= start_s) & (at < start_s + seconds)] for x in (number, ticks))
    note, beat = np.nonzero(
        (notes.onset[:, None] <= ticks) & (ends[:, None] > ticks)  # a matrix, [notes, beats]
    )
    sounding = np.zeros((len(number), 128), dtype=bool)
    sounding[beat, notes.pitch[note]] = True
    audible = np.flatnonzero(sounding.any(1))
    kept = slice(audible[0], audible[-1] + 1) if len(audible) else slice(0)
    of_tracks = _tracks(notes, note, beat, len(number))
    bar = bars.places(ticks, notes.signatures, quarter).bar
    return ClipBeats(number[kept], sounding[kept], of_tracks[kept], bar[kept])


def _phase(notes: NoteTable) -> int:
    """Ticks after the quarter at which beats are."""
    quarter = notes.ticks_per_quarter
    part = (2 * PARTS * (notes.onset % quarter) + quarter) // (2 * quarter) % PARTS
    counts = np.bincount(part, minlength=PARTS)
    smooth = 2 * counts + np.roll(counts, 1) + np.roll(counts, -1)
    return int(smooth.argmax()) * quarter // PARTS


def _tracks(notes: NoteTable, note: Integers, beat: Integers, beats: int) -> Integers:
    track = getattr(notes, "track", None)
    if track is None or not len(notes):
        return np.zeros((beats, 0), dtype=np.int64)
    names, column = np.unique(track, return_inverse=True)
    found = np.full((beats, len(names)), -1, dtype=np.int64)
    np.maximum.at(found, (beat, column[note]), notes.pitch[note].astype(np.int64))
    return found
