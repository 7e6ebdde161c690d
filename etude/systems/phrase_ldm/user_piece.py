"""A user's own MIDI as bars of phrases, and what is made after it in its own time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from etude.config import CorpusBase
from etude.corpus.ingest import taken
from etude.errors import UserError
from etude.midi.continuation import ContinuedFile, read_piece
from etude.midi.notes import MidiError, NoteTable, read_bytes
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.remi_z_vocabulary import Bar

VERSION = 1  # raised when the same file gives other bars, or is continued otherwise


@dataclass
class UserPiece:
    """A user's own MIDI.

    Attributes: name (of the file), bars (moved to the key that the tokenizer moves to), moved (by
    this many semitones), piece (the file, which nothing changes).
    """

    name: str
    bars: list[Bar]
    moved: int
    piece: ContinuedFile

    @property
    def meter(self) -> str:
        """The time signature of most bars; of equal ones the first."""
        signatures = [bar.signature for bar in self.bars]
        return "{}/{}".format(*max(signatures, key=signatures.count))

    @property
    def tempo(self) -> float:
        """Quarters a minute at its beginning."""
        tempos = self.piece.table.tempos
        return 60e6 / float(tempos[0, 1]) if len(tempos) and tempos[0, 1] > 0 else 120.0

    def behind(self, new: NoteTable) -> NoteTable:
        """Notes in ticks of the file, from where it ends on."""
        own, seam = self.piece.table, self.piece.seam
        ratio = own.ticks_per_quarter / new.ticks_per_quarter
        return replace(
            new,
            onset=seam + np.rint(new.onset * ratio).astype(np.int64),
            duration=np.maximum(np.rint(new.duration * ratio), 1).astype(np.int64),
            tempos=np.zeros((0, 2), np.int64),  # the file's last one holds on
            ticks_per_quarter=own.ticks_per_quarter,
        )


def read_user_piece(path: Path, tokenizer: RemiZTokenizer, corpus: CorpusBase) -> UserPiece:
    """A MIDI file as bars.

    Raises:
        UserError: it cannot be read, or has no notes that the tokenizer knows.
    """
    try:
        piece = read_piece(data := read_bytes(path))
    except (MidiError, OSError) as error:
        raise UserError(
            "the MIDI file cannot be used",
            code="unusable-midi",
            where=str(path),
            why=getattr(error, "strerror", None) or str(error),
            do="give another one",
        ) from None
    table, moved = tokenizer.prepared(taken(corpus.rules, piece.table), data)
    bars = tokenizer.bars(tokenizer.encode(table)) if len(table) else []
    if not bars:
        raise UserError(
            "the MIDI file has no notes that the tokenizer reads",
            code="no-notes",
            where=str(path),
            do="give a file with pitched notes",
        )
    return UserPiece(path.name, bars, moved, piece)
