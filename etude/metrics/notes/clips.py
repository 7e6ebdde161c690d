"""The notes of a clip set: what the door of etude.metrics.clip_sets is for sound.

A clip's notes are in the .mid beside its WAV; those of a real clip, which is a stretch of a piece's
audio, are in the piece's own file. What a metric reads: notes that begin in what is heard of the
clip's sound (`clip_sets.stretch`: never the prime, which must not count as generated).

Neuromusic's distances go from a clip's beginning (head) to what follows (tail). Where an experiment
continues prompts, the head is what comes before the prime's end, for all sets; where it makes
clips from nothing, the head is the first half of what is heard, and the tail the second.

Form is not heard in a stretch of two seconds. For its figures a clip is entire: all that its file
has after the prime, and of a real clip the whole piece that it is a stretch of.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from etude.metrics.clip_sets import stretch
from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.storage import read_csv

VERSION = 4  # raised when metrics read something else

NO_MIDI = "this set has no notes, only sound"
DROPPED = ("no_midi", "unreadable", "no_notes", "failed")
ROUNDING = 1e-3  # seconds: times in clips.csv have three decimals


@dataclass(frozen=True)
class SymbolicClip:
    """One clip.

    Attributes: clip, piece (its own name where it is of no piece), music (the notes heard), head
    and tail (see above), whole (head and tail), sounding (the notes heard and those that began
    before and still sound), start_s and seconds of what is heard, entire (see above) and from_s,
    where that begins in the file; of_piece, whether the file is the piece's own.
    """

    clip: str
    piece: str
    music: NoteTable
    head: NoteTable
    tail: NoteTable
    whole: NoteTable
    sounding: NoteTable
    start_s: float
    seconds: float
    entire: NoteTable
    from_s: float
    of_piece: bool = False


@dataclass
class SymbolicSet:
    """The clips of a set that have notes, and how many were dropped for which reason."""

    clips: list[SymbolicClip] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROPPED, 0))
    note: str = ""


def read_symbolic(
    folder: Path,
    *,
    pieces: Mapping[str, Path] | None = None,
    prompted: bool = False,
    most: int | None = None,
) -> SymbolicSet:
    """The notes of a clip set; clips without notes are counted, and cost no error.

    Args:
        pieces: the corpus's files, for clips that are stretches of them.
        prompted: whether the experiment continues prompts.
        most: only this many clips, the first ones.
    """
    found = SymbolicSet()
    read = functools.lru_cache(maxsize=256)(read_midi)
    if (folder / "note.txt").is_file():
        found.note = (folder / "note.txt").read_text(encoding="utf-8").strip()
    for row in list(read_csv(folder / "clips.csv"))[:most]:
        path, row, of_piece = _file_of(folder, row, pieces or {})
        if path is None:
            found.dropped["no_midi"] += 1
            continue
        try:
            clip = parted(row, read(path), prompted)
            if of_piece:
                clip = replace(clip, entire=read(path), from_s=0.0, of_piece=True)
        except MidiError:
            found.dropped["unreadable"] += 1
            continue
        if len(clip.music.without_drums()):
            found.clips.append(clip)
        else:
            found.dropped["no_notes"] += 1
    if not found.clips and found.dropped["no_midi"] and not found.note:
        found.note = NO_MIDI
    return found


def _file_of(
    folder: Path, row: dict[str, str], pieces: Mapping[str, Path]
) -> tuple[Path | None, dict[str, str], bool]:
    """Where a clip's notes are, its row with the stretch that it is, whether that is of a piece."""
    own = folder / (row.get("midi") or str(Path(row["file"]).with_suffix(".mid")))
    if own.is_file():
        return own, row, False
    piece = pieces.get(row.get("piece") or "")
    if piece is None or piece.suffix.lower() not in (".mid", ".midi", ".rmi", ".kar"):
        return None, row, False
    part = {"prime_seconds": row.get("start_s") or "0", "heard_seconds": row["seconds"]}
    return piece, row | part, True


def parted(row: Mapping[str, str], table: NoteTable, prompted: bool = False) -> SymbolicClip:
    """A clip's notes as its row of clips.csv says.

    A note counts to the part in which it begins.
    """
    start, audible_s = stretch(row)
    ends = max(float(row.get("seconds") or 0), table.seconds)
    seconds = max(ends - start, 0.0) if audible_s is None else audible_s
    prime = float(row.get("prime_seconds") or 0)
    cut = prime if prompted else start + seconds / 2
    onset = table.onset_s + ROUNDING
    audible, before = onset < start + seconds, onset < cut
    music = (onset >= start) & audible
    head = before if prompted else before & music
    return SymbolicClip(
        clip=row["clip"],
        piece=row.get("piece") or row["clip"],
        music=table.at(music),
        head=table.at(head),
        tail=table.at(music & ~before),
        whole=table.at(head | music),
        sounding=table.at(audible & (table.end_s > start + ROUNDING)),
        start_s=start,
        seconds=seconds,
        entire=table.at(onset >= prime),
        from_s=prime,
    )
