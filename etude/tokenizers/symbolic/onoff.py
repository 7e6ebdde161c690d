"""MidiLM's tokens: `on|off_<pitch>_<delta>`, one for each beginning and end of a note.

The vocabulary is MidiLM's: 88 pitches x 23 deltas x on and off, then [UNK] and [PAD]. A delta is
the ticks since the token before; it is brought to the nearest of the 23, and how far that is is
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.config import Filter, OnOff
from etude.midi.cleaning import join_doubled, pair, table_notes
from etude.midi.messages import read_messages, read_messages_anyhow
from etude.midi.notes import NoteTable
from etude.midi.writing import plain_table
from etude.tokenizers.symbolic.base import Encoded, SymbolicTokenizer
from etude.tokenizers.symbolic.midilm import COUNTS, clean_and_encode, encode_as_the_seed
from etude.tokenizers.symbolic.midilm_vocabulary import (
    DELTAS,
    LOWEST,
    OF_PITCH,
    PAD,
    PITCHES,
    UNKNOWN,
    encode_notes,
    token_names,
)

VERSION = 1


class OnOffTokenizer(SymbolicTokenizer):
    """on|off_<pitch>_<delta>."""

    version = VERSION
    settings_class = OnOff
    vocabulary = PAD + 1
    pad = PAD
    unknown = UNKNOWN
    count_columns = COUNTS

    def __init__(self, settings: OnOff) -> None:
        super().__init__(settings)
        self.ticks_per_quarter = settings.ticks_per_quarter
        self.exact_windows = settings.compat is not None

    def encode(self, table: NoteTable) -> list[int]:
        """The ids of the pitched notes; those outside 21 ... 108 are left out, time kept."""
        notes = table_notes(table, self.ticks_per_quarter)
        if self.settings.drop_doubled:
            notes = join_doubled(notes)[0]
        ids: list[int] = encode_notes(notes)[0].tolist()
        return ids

    def decode(self, ids: Sequence[int]) -> NoteTable:
        """Notes between a pitch's on and its off; what still sounds ends with the last token."""
        array = np.asarray(ids, np.int64)
        array = array[(array >= 0) & (array < UNKNOWN)]
        pitch, on = array // OF_PITCH + LOWEST, array % 2 == 0
        tick = np.cumsum(DELTAS[array % OF_PITCH // 2])
        last = tick[-1:].max(initial=0)
        # An off for every pitch at the end lets go whatever sounds.
        open_ons = np.unique(pitch[on])
        extra = np.repeat(open_ons, [int(on[pitch == p].sum()) for p in open_ons])
        pitch, on = np.append(pitch, extra), np.append(on, np.zeros(len(extra), bool))
        tick = np.append(tick, np.full(len(extra), last))
        begin, end = pair(pitch, on)
        return plain_table(
            tick[begin],
            np.maximum(tick[end] - tick[begin], 1),
            pitch[begin],
            velocity=self.settings.velocity,
            quarters_a_minute=self.settings.tempo,
            ticks_per_quarter=self.ticks_per_quarter,
        )

    def notes_in(self, ids: Sequence[int]) -> int:
        """How many ids are an `on`."""
        array = np.asarray(ids, np.int64)
        return int(((array < UNKNOWN) & (array % 2 == 0)).sum())

    def names(self) -> list[str]:
        """`on_21_0`, `off_21_0`, `on_21_1`, … [UNK], [PAD]: MidiLM's order."""
        return token_names()

    def encode_file(
        self,
        data: bytes,
        rules: Filter,
        transpositions: Sequence[int] = (0,),
        max_seconds: float | None = None,
        files: bool = False,
    ) -> Encoded:
        """The ids of a file through MidiLM's steps, from its messages as they are in it.

        Drums are left out whatever the filter says (MidiLM's own way keeps them): these tokens
        have no instruments. Programs do not matter.
        """
        if self.settings.compat:
            messages = read_messages(data, bare=True)
            return encode_as_the_seed(self.settings, messages, transpositions, files)
        messages = read_messages_anyhow(data)
        return clean_and_encode(self.settings, messages, transpositions, max_seconds, files)

    def grammar(self) -> OnOffGrammar:
        """An off only for a sounding pitch, an on only for a silent one."""
        return OnOffGrammar()

    def invalid_share(self, ids: Sequence[int], prompt: Sequence[int] = ()) -> float:
        """On for a sounding pitch, off for a silent one, [UNK] and [PAD]."""
        array = np.asarray([*prompt, *ids], np.int64)
        judged = np.arange(len(array)) >= len(prompt)
        known = (array >= 0) & (array < UNKNOWN)
        wrong = ~known
        index = np.flatnonzero(known)
        pitch, on = array[index] // OF_PITCH, array[index] % 2 == 0
        order = np.argsort(pitch, kind="stable")
        pitch, on = pitch[order], on[order]
        before = np.append(False, on[:-1] & (pitch[1:] == pitch[:-1]))[: len(on)]
        wrong[index[order]] = on == before
        return float(wrong[judged].mean()) if judged.any() else 0.0


class OnOffGrammar:
    """The state is which of the 88 pitches sound: bool [batch, 88]."""

    def start(self, batch: int, device: Any = "cpu") -> Tensor:
        """Nothing sounds."""
        return torch.zeros(batch, PITCHES, dtype=torch.bool, device=device)

    def advance(self, state: Tensor, ids: Tensor) -> Tensor:
        """A pitch begins or ends; [UNK] and [PAD] change nothing."""
        known = ids < UNKNOWN
        pitch = torch.where(known, ids // OF_PITCH, 0).unsqueeze(1)
        now = state.gather(1, pitch).squeeze(1)
        return state.scatter(1, pitch, torch.where(known, ids % 2 == 0, now).unsqueeze(1))

    def allowed(self, state: Tensor) -> Tensor:
        """[batch, 4050]."""
        both = torch.stack([~state, state], dim=2)  # on, off
        notes = both.unsqueeze(2).expand(-1, -1, len(DELTAS), -1).reshape(len(state), UNKNOWN)
        return torch.cat([notes, notes.new_zeros(len(state), 2)], dim=1)
