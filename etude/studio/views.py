"""What the page draws of a sound and of notes: a few numbers, not the files."""

from __future__ import annotations

import numpy as np

from etude.midi.notes import NoteTable

PEAKS = 600  # of a whole clip
MOST_NOTES = 6000  # that are drawn


def peaks(wave: np.ndarray) -> list[float]:
    """The largest of each part of a wave [samples], relative to the loudest: [PEAKS] at most.

    Relative, since a quiet SoundFont would else be a flat line.
    """
    if not len(wave):
        return []
    parts = np.array_split(np.abs(wave), min(PEAKS, len(wave)))
    found = np.array([part.max() for part in parts])
    loudest = float(found.max())
    return np.round(found / loudest, 3).tolist() if loudest > 0 else [0.0] * len(found)


def notes(table: NoteTable) -> list[list[float]]:
    """[onset in seconds, end in seconds, pitch] of each note, the first MOST_NOTES."""
    columns = (table.onset_s.round(3), table.end_s.round(3), table.pitch)
    rows = zip(*(column[:MOST_NOTES].tolist() for column in columns), strict=True)
    return [[float(value) for value in row] for row in rows]
