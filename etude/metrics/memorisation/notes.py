"""The search for music that is written down: clips and training music as notes.

Conventions
    notes are NoteTables; a clip's notes are searched among the training pieces' by intervals and
    waits (sequences.py), so transposition, tempo and voice make no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from etude.metrics.memorisation.attacks import HOST_SECONDS, SEMITONES, SPAN_SECONDS, TEMPI
from etude.metrics.memorisation.excerpts import HELD_OUT, CorpusPieces, Excerpt
from etude.metrics.memorisation.null import Null
from etude.metrics.memorisation.sequences import Common, SuffixIndex, note_sequence
from etude.midi.notes import OF_NOTES, MidiError, NoteTable, read_midi
from etude.pool import Failed, tried

VERSION = 2  # raised when scores change

ATTACKS = ("exact", *SEMITONES, *TEMPI, "reversed")
OF_SPANS = ("exact", "semitone_up", "semitone_down")


def part(table: NoteTable, start_s: float, seconds: float) -> NoteTable:
    """The notes that begin within a stretch.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.arange(4) * 480, np.full(4, 480), np.arange(60, 64))
        >>> part(table, 0.5, 1.0).pitch.tolist()  # a note lasts half a second
        [61, 62]
    """
    return table.at((table.onset_s >= start_s) & (table.onset_s < start_s + seconds))


def transposed(table: NoteTable, semitones: int) -> NoteTable:
    """All notes moved.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.array([0]), np.array([480]), np.array([60]))
        >>> transposed(table, 7).pitch.tolist()
        [67]
    """
    return replace(table, pitch=(table.pitch + semitones).astype(np.int16))


def attacked(table: NoteTable, attack: str, number: int = 0) -> NoteTable:
    """A planted copy: transposed, its ticks at another tempo, or backwards.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.arange(3) * 480, np.full(3, 480), np.arange(60, 63))
        >>> attacked(table, "reversed").pitch.tolist()
        [62, 61, 60]
        >>> attacked(table, "semitone_up").pitch.tolist()
        [61, 62, 63]
    """
    if attack in SEMITONES:
        steps = SEMITONES[attack]
        return transposed(table, steps[number % len(steps)])
    if attack in TEMPI:
        onset, end = (
            np.round(ticks / TEMPI[attack]).astype(np.int64)
            for ticks in (table.onset, table.onset + table.duration)
        )
        return replace(table, onset=onset, duration=np.maximum(1, end - onset))
    if attack == "reversed" and len(table):
        end = table.onset + table.duration
        backwards = replace(table, onset=int(end.max()) - end)
        return backwards.at(backwards.order())
    return table


def embedded(span: NoteTable, host: NoteTable, share: float) -> NoteTable:
    """The span in place of as much of the host, which begins after a share of the host's notes.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> host = plain_table(np.arange(4) * 480, np.full(4, 480), np.arange(60, 64))
        >>> span = plain_table(np.array([0]), np.array([480]), np.array([90]))
        >>> embedded(span, host, 0.5).pitch.tolist()  # one note of the host is replaced
        [60, 90, 62, 63]
    """
    scale = span.ticks_per_quarter / host.ticks_per_quarter
    onset = np.round(host.onset * scale).astype(np.int64)
    at = int(onset[int(share * (len(onset) - 1))]) if len(onset) else 0
    moved = span.onset - span.onset.min(initial=2**62) + at if len(span) else span.onset
    until = int(moved.max(initial=at))
    before, behind = onset < at, onset > until
    columns: dict[str, Any] = {}
    for name in OF_NOTES[1:]:
        theirs, own = getattr(host, name), getattr(span, name)
        columns[name] = np.concatenate([theirs[before], own, theirs[behind]])
    return replace(span, onset=np.concatenate([onset[before], moved, onset[behind]]), **columns)


class NoteIndex:
    """The training pieces' notes, ready to be searched."""

    def __init__(self, music: CorpusPieces, midi: dict[str, Path]) -> None:
        self.music, self.midi = music, midi
        self.names = [piece for piece in music.names("train") if piece in midi]
        self.tables = {piece: self._read(piece) for piece in sorted(midi)}
        self.index = SuffixIndex([note_sequence(self.tables[piece]) for piece in self.names])

    def _read(self, piece: str) -> NoteTable:
        """A piece that cannot be read (any more) has no notes, which `left` of the music says."""
        found = tried(_notes_or_reason, self.midi[piece])
        reason = found.reason if isinstance(found, Failed) else found
        if isinstance(reason, str):
            self.music.leave_out(piece, reason)
            return _nothing()
        return reason

    def search(self, table: NoteTable) -> Common:
        """What a clip has in common with the training pieces."""
        return self.index.search(note_sequence(table))

    def place(self, found: Common) -> tuple[str, float]:
        """Piece and second where a common run begins."""
        if found.sequence < 0:
            return "", 0.0
        piece = self.names[found.sequence]
        times = self.tables[piece].without_drums().onset_s
        return piece, float(times[min(found.position, len(times) - 1)])

    def cut(self, excerpt: Excerpt) -> NoteTable:
        """The notes of an excerpt."""
        return part(self.tables[excerpt.piece], excerpt.start_s, excerpt.seconds)

    def held_out(self, seconds: float, count: int, seed: int) -> list[tuple[str, NoteTable]]:
        """Held-out excerpts: the piece of each, and its notes."""
        return [(e.piece, self.cut(e)) for e in self._excerpts(HELD_OUT, seconds, count, seed)]

    def null(self, seconds: float, count: int, seed: int) -> Null:
        """Held-out excerpts, scored."""
        found = self.held_out(seconds, count, seed)
        scores = np.array([self.search(notes).score for _, notes in found])
        return Null(scores, [piece for piece, _ in found])

    def _excerpts(
        self, splits: tuple[str, ...], seconds: float, count: int, seed: int
    ) -> list[Excerpt]:
        found = self.music.excerpts(splits, seconds, count, seed)
        return [e for e in found if len(self.tables.get(e.piece, ()))]

    def copies(
        self, seconds: float, count: int, seed: int
    ) -> Iterator[tuple[str, list[NoteTable]]]:
        """(attack, planted copies), as long as a clip."""
        copied = self._excerpts(("train",), seconds, count, seed)
        for attack in ATTACKS:
            yield attack, [attacked(self.cut(e), attack, number) for number, e in enumerate(copied)]

    def planted(self, seconds: float, count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
        """(attack, scores) of planted copies as long as a clip."""
        known: dict[bytes, float] = {}  # a transposed copy is the same sequence: searched once
        for attack, copies in self.copies(seconds, count, seed):
            scores = []
            for ids in map(note_sequence, copies):
                key = ids.tobytes()
                if key not in known:
                    known[key] = self.index.search(ids).score
                scores.append(known[key])
            yield attack, np.array(scores)

    def planted_spans(self, count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
        """(attack, scores) of spans of 2 s inside held-out clips of 8 s."""
        random = np.random.default_rng(seed)
        copied = self._excerpts(("train",), SPAN_SECONDS, count, seed + 1)
        hosts = self._excerpts(HELD_OUT, HOST_SECONDS, count, seed)
        for attack in OF_SPANS:
            scores = []
            for span, host in zip(copied, hosts, strict=False):
                notes = attacked(self.cut(span), attack)
                mixed = embedded(notes, self.cut(host), float(random.uniform(0, 0.75)))
                scores.append(self.search(mixed).score)
            yield attack, np.array(scores)


def _notes_or_reason(path: Path) -> NoteTable | str:
    """A piece that was kept is readable; its file may have changed since."""
    try:
        return read_midi(path)
    except MidiError as error:
        return str(error)


def _nothing() -> NoteTable:
    empty: Any = np.zeros(0, np.int64)
    small = empty.astype(np.int16)
    return NoteTable(empty, empty, small, small, small, np.zeros((0, 2), np.int64), 480)


def midi_files(pieces: Iterator[dict[str, str]], root: Path) -> dict[str, Path]:
    """{piece: MIDI file} of the kept pieces that are MIDI."""
    return {
        row["piece"]: root / row["path"]
        for row in pieces
        if row["status"] == "kept" and row["kind"] == "midi" and (root / row["path"]).is_file()
    }
