"""What a clip is: one generated (or real) item, before it is a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etude.midi.notes import NoteTable


@dataclass
class Clip:
    """One item of a clip set.

    Attributes:
        wave: float32 [samples], mono, at the rate of its player or set.
        row: its columns of clips.csv, besides those that the writer knows (clip, file, seconds).
        notes: what is played, where the system makes notes; written as .mid beside the WAV.
        condition: its columns of conditions.csv.
        parts: further notes by folder (`prompts`, `generated`, `originals`): written as
            <folder>/<clip>.mid.
        result: its row of results.json; None: that file is not written.
        rate: that of `wave`, where the system knows it for each clip; must be the player's.
        number: in the set, where clips are not made in their order; None: the next one.
        midi: the .mid, where it holds more than notes: it continues a file of the user's.
    """

    wave: np.ndarray
    row: dict[str, Any] = field(default_factory=dict)
    notes: NoteTable | None = None
    condition: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, NoteTable] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    rate: int | None = None
    number: int | None = None
    midi: bytes | None = None
