"""The notes of a clip set: what the door of etude.metrics.clip_sets is for sound.

A clip of clips.csv whose .mid lies beside its WAV. What a metric reads of it: notes after the prime
(a real beginning must not count as generated), and only so many seconds as `heard_seconds` says.
The part before, or of a clip without a prime its first half, is what Neuromusic's distances start
from. Notes count to the part in which they begin. Time goes on counting from the clip's beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.storage import read_csv

VERSION = 1  # raised when metrics read something else

NO_MIDI = "this set has no .mid files"
DROPPED = ("no_midi", "unreadable", "no_notes")


@dataclass(frozen=True)
class SymbolicClip:
    """One clip.

    Attributes: clip, piece (its own name where it is of no piece), prompted, whole (all notes
    heard), head (prime, or first half), tail (what follows the prime, or second half), music
    (what is measured: the tail of a prompted clip, else the whole), seconds of the music.
    """

    clip: str
    piece: str
    prompted: bool
    whole: NoteTable
    head: NoteTable
    tail: NoteTable
    music: NoteTable
    seconds: float


@dataclass
class SymbolicSet:
    """The clips of a set that have notes, and how many were dropped for which reason."""

    clips: list[SymbolicClip] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROPPED, 0))
    note: str = ""


def read_symbolic(folder: Path) -> SymbolicSet:
    """The notes of a clip set; clips without notes are counted, and cost no error."""
    found = SymbolicSet()
    if (folder / "note.txt").is_file():
        found.note = (folder / "note.txt").read_text(encoding="utf-8").strip()
    for row in read_csv(folder / "clips.csv"):
        path = folder / (row.get("midi") or str(Path(row["file"]).with_suffix(".mid")))
        if not path.is_file():
            found.dropped["no_midi"] += 1
            continue
        try:
            table = read_midi(path)
        except MidiError:
            found.dropped["unreadable"] += 1
            continue
        clip = parted(row, table)
        if len(clip.music.without_drums()):
            found.clips.append(clip)
        else:
            found.dropped["no_notes"] += 1
    if not found.clips and found.dropped["no_midi"] and not found.note:
        found.note = NO_MIDI
    return found


def parted(row: dict[str, str], table: NoteTable) -> SymbolicClip:
    """A clip's notes before and after its prime, as its row of clips.csv says."""
    prime = float(row.get("prime_seconds") or 0)
    heard = float(row.get("heard_seconds") or np.inf)
    onset = table.onset_s
    table = table.at(onset < prime + heard)
    onset = table.onset_s
    ends = float(row.get("seconds") or 0) or table.seconds
    cut = prime or min(ends, heard) / 2
    # A prompt's last note may be written a rounding error after the prime's end.
    before = onset < cut - 1e-3
    return SymbolicClip(
        clip=row["clip"],
        piece=row.get("piece") or row["clip"],
        prompted=prime > 0,
        whole=table,
        head=table.at(before),
        tail=table.at(~before),
        music=table.at(~before) if prime else table,
        seconds=max(min(ends - prime, heard), 0.0),
    )
