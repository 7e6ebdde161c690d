"""Which words of REMI-z may follow which."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from etude.midi.bars import COMMON
from etude.midi.notes import DRUMS
from etude.tokenizers.symbolic.remi_z_vocabulary import (
    BAR,
    DURATION,
    INSTRUMENT,
    LOUDNESSES,
    ONSET,
    PITCH,
    SIGNATURE,
    SIGNATURES,
    SPECIAL,
    TEMPO,
    UPBEAT,
    VELOCITY,
    Vocabulary,
)

HIGHEST = 2 * DRUMS  # above every pitch
# The columns of a state: what came last, and what is left of the bar and of the moment.
KIND, LENGTH, AT, LOW, LONGEST, LOUDEST, DRUM, STATED, SLOTS, FIRST, ENDED = range(11)


class RemiZGrammar:
    """The state is int64 [batch, 11]: the columns above.

    KIND is the kind of the last token; LENGTH how many positions the bar has; AT the last position;
    LOW the last pitch at it; LONGEST and LOUDEST the largest duration and velocity that the order
    of notes allows; DRUM whether the track is of drums; STATED how many tracks the bar has stated,
    SLOTS how many it must (by track; 0 while the first bar decides); FIRST whether the bar is the
    piece's first; ENDED whether EOS was said. That a program comes once in a bar is not looked at.
    """

    def __init__(self, words: Vocabulary, eos: int) -> None:
        self.words, self.settings, self.eos = words, words.settings, eos
        self.kinds = torch.from_numpy(words.kinds)
        self.values = torch.from_numpy(words.values)
        self.lengths = torch.tensor([words.positions(s) for s in SIGNATURES])
        self.common = words.positions(COMMON)

    def start(self, batch: int, device: Any = "cpu") -> Tensor:
        """Before the first bar: as after the end of one."""
        row = torch.zeros(batch, 11, dtype=torch.int64, device=device)
        row[:, KIND], row[:, LENGTH], row[:, AT], row[:, FIRST] = BAR, self.common, -1, 1
        return row

    def advance(self, state: Tensor, ids: Tensor) -> Tensor:
        """Specials change nothing, but for EOS."""
        kind, value = self.kinds.to(ids.device)[ids], self.values.to(ids.device)[ids]
        new = state.clone()

        def put(column: int, when: Tensor, what: Tensor | int) -> None:
            new[:, column] = torch.where(when, what, new[:, column])

        put(KIND, kind != SPECIAL, kind)
        put(ENDED, ids == self.eos, 1)
        bar, instrument = kind == BAR, kind == INSTRUMENT
        put(SLOTS, bar & (state[:, FIRST] == 1), state[:, STATED])
        put(FIRST, bar, 0)
        put(STATED, bar, 0)
        signature = (kind == SIGNATURE).nonzero()[:, 0]
        new[signature, LENGTH] = self.lengths.to(ids.device)[value[signature]]
        put(AT, bar | instrument, -1)
        put(STATED, instrument, state[:, STATED] + 1)
        put(DRUM, instrument, (value == DRUMS).long())
        onset, pitch, duration = kind == ONSET, kind == PITCH, kind == DURATION
        put(AT, onset, value)
        put(LOW, onset, HIGHEST)
        fresh = pitch & (value != state[:, LOW])
        put(LONGEST, fresh, self.settings.longest)
        put(LOW, pitch, value)
        put(LOUDEST, fresh | (duration & (value != state[:, LONGEST])), LOUDNESSES - 1)
        put(LONGEST, duration, value)
        put(LOUDEST, kind == VELOCITY, value)
        return new

    def allowed(self, state: Tensor) -> Tensor:
        """[batch, vocabulary]."""
        kinds, values = self.kinds.to(state.device), self.values.to(state.device)
        column = [c[:, None] for c in state.unbind(1)]
        last, by_track = column[KIND], self.settings.tracks == "track"
        behind = {k: last == k for k in range(VELOCITY + 1)}
        begun = behind[BAR]
        signed = behind[SIGNATURE] if self.settings.time_signatures else begun
        timed = signed | behind[UPBEAT]
        headed = behind[TEMPO] if self.settings.tempos else timed
        note = behind[VELOCITY] if self.settings.velocities else behind[DURATION]
        free = headed | note | (behind[INSTRUMENT] if by_track else False)
        first, stated = column[FIRST] == 1, column[STATED]
        more = torch.where(first, self.settings.slots, column[SLOTS]) if by_track else HIGHEST
        full = first | (stated == column[SLOTS]) if by_track else True
        drum = (column[DRUM] == 1) == (values >= DRUMS)[None]
        may = {
            SIGNATURE: begun,
            UPBEAT: signed & first & (values < column[LENGTH]),
            TEMPO: timed,
            INSTRUMENT: free & (stated < more),
            BAR: free & full,
            ONSET: (behind[INSTRUMENT] | note) & (values > column[AT]) & (values < column[LENGTH]),
            PITCH: (behind[ONSET] | note) & (values <= column[LOW]) & drum,
            DURATION: behind[PITCH] & (values <= column[LONGEST]),
            VELOCITY: behind[DURATION] & (values <= column[LOUDEST]),
        }
        found = torch.zeros(len(state), len(kinds), dtype=torch.bool, device=state.device)
        for kind, rule in may.items():
            found |= rule & (kinds == kind)
        ended = column[ENDED] == 1
        found &= ~ended
        found[:, self.eos] = ((begun & ~first) | ended)[:, 0]
        return found
