"""What clips of notes continue: held-out pieces, or the user's own MIDI."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from etude.config import CorpusBase
from etude.config.systems.symbolic_lm import SymbolicGenerate
from etude.corpus.ingest import taken
from etude.errors import UserError
from etude.midi.continuation import ContinuedFile, read_piece
from etude.midi.notes import MidiError, NoteTable, read_bytes
from etude.tokenizers.symbolic.base import SymbolicTokenizer, transposed

VERSION = 3  # raised when the same pieces give other prompts


COARSE = 48  # ticks a quarter note: tokens of no more have a grid, those of more have moments


@dataclass
class UserMidi:
    """A user's own MIDI: the piece, which nothing changes, and the notes that become tokens.

    `moved` is the semitones that these were moved by, to the key that the tokens have.
    """

    piece: ContinuedFile
    notes: NoteTable
    moved: int = 0

    def place(self, table: NoteTable, before: NoteTable) -> NoteTable:
        """What follows the piece in decoded tokens, in the piece's own ticks, from its seam on.

        Tokens have a time of their own, rounded and without long rests. The two times meet at the
        last note that became tokens; what was drawn while the piece still sounds is left out. In
        tokens without a grid the first note moves to the nearest sixteenth, the rest with it.

        Args:
            table: the prompt's tokens and those that were drawn, decoded.
            before: the prompt's alone.
        """
        piece, ticks = self.piece, table.ticks_per_quarter
        scale = piece.table.ticks_per_quarter / ticks
        last = int(before.onset.max(initial=-1))
        begin = self._begin(before, scale)
        grid = 1 if ticks <= COARSE else ticks // 4
        table = transposed(table, -self.moved)
        new = table.at((table.onset > last) & (table.onset >= begin - grid / 2))
        first = float(new.onset.min(initial=2**62))
        begin = first - max(round((first - begin) / grid), 0) * grid
        later = table.tempos[table.tempos[:, 0] > max(begin, last)]
        tempos = np.stack([piece.seam + (later[:, 0] - begin) * scale, later[:, 1]], axis=1)
        return replace(
            new,
            onset=piece.seam + np.rint((new.onset - begin) * scale).astype(np.int64),
            duration=np.maximum(np.rint(new.duration * scale), 1).astype(np.int64),
            tempos=np.rint(tempos).astype(np.int64),
            ticks_per_quarter=piece.table.ticks_per_quarter,
        )

    def _begin(self, before: NoteTable, scale: float) -> float:
        """The tick of the tokens that is the seam."""
        if not len(before):
            return 0.0
        # Tokens may lack the piece's last notes, so their own last one is looked for by its pitch.
        same = self.notes.onset[self.notes.pitch == before.pitch[-1]]
        last = int((same if len(same) else self.notes.onset).max())
        end = int((self.notes.onset + self.notes.duration).max())
        begin = int(before.onset[-1]) + round((self.piece.beat_after(end) - last) / scale)
        # A last note that tokens have shortened leaves whole beats out.
        beat, rest = (
            float(self.piece.unit) / scale,
            begin - int((before.onset + before.duration).max()),
        )
        return begin - max(rest // beat, 0) * beat


@dataclass
class Prompt:
    """What a clip continues.

    Attributes: ids (without a beginning's), source (whose they are), original (how it went on),
    own (the user's own music, where it is that).
    """

    ids: list[int] = field(default_factory=list)
    source: str = ""
    original: list[int] = field(default_factory=list)
    own: UserMidi | None = None


def held_out_prompts(
    packed: Path, settings: SymbolicGenerate, split: str = "valid"
) -> list[Prompt]:
    """The beginnings of held-out pieces, and how they really go on.

    They are of the validation split: what is measured against the test split must not hold it.

    Raises:
        UserError: no piece is long enough.
    """
    import datasets

    dataset = datasets.load_from_disk(str(packed / split))
    found, longest = [], 0
    for row in dataset:
        if row["window"] or row["transpose"]:
            continue
        ids, size = row["input_ids"], settings.prompt_tokens
        longest = max(longest, len(ids))
        if len(ids) > size:
            found.append(Prompt(ids[:size], row["piece"], ids[size : size + settings.new_tokens]))
    if not found:
        raise UserError(
            f"no held-out piece has a prompt of {settings.prompt_tokens} tokens",
            where=str(packed / split),
            why=f"the longest has {longest} tokens, and something must follow the prompt",
            do="set a smaller `generate: {prompt_tokens: …}`",
        )
    return found


def read_prompt(
    path: Path, tokenizer: SymbolicTokenizer, corpus: CorpusBase, tokens: int | None = None
) -> Prompt:
    """A user's own MIDI as a prompt, with the corpus's filter.

    Args:
        tokens: how many it must have; None: as many as there are.

    Raises:
        UserError: it cannot be read, has no notes or drums alone, or is shorter than asked.
    """
    try:
        data = read_bytes(path)
        piece = read_piece(data)
    except (MidiError, OSError) as error:
        raise UserError(
            "the prompt cannot be used",
            where=str(path),
            why=getattr(error, "strerror", None) or str(error),
            do="give another MIDI file, or change the corpus's `filter`",
        ) from None
    whole, table = piece.table, taken(corpus.rules, piece.table)
    if len(whole) and not len(whole.without_drums()):
        raise UserError(
            "the prompt has only drums",
            where=str(path),
            why="the tokens are of pitched notes",
            do="give a MIDI file with a part that is no drums",
        )
    table, moved = tokenizer.prepared(table, data)
    ids = tokenizer.encode(table) if len(table) else []
    if not ids:
        raise UserError(
            "the prompt has no notes that the tokenizer reads",
            where=str(path),
            do="give a MIDI file with pitched notes",
        )
    if tokens is not None and len(ids) < tokens:
        raise UserError(
            f"the prompt is shorter than asked: {len(ids)} tokens of {tokens}",
            where=str(path),
            do=f"ask for no more than {len(ids)} (`prompt_tokens`), or give a longer piece",
        )
    return Prompt(list(ids), path.name, own=UserMidi(piece, table, moved))
