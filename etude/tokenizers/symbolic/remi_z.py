"""REMI-z: bars that hold one track after the other (Ou et al., arXiv 2408.15176), and phrases.

A phrase is a track in a bar. `bars` takes ids apart into bars and phrases, `join` puts them
together again; PhraseVAE reads a piece that way. With `tracks: track` every bar states all tracks
of the piece, so that the number of an instrument token in its bar is the slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from etude.config import RemiZ
from etude.midi import bars
from etude.midi.keys import find_key, written_key
from etude.midi.notes import DRUMS, NoteTable
from etude.midi.writing import plain_table
from etude.tokenizers.symbolic.account import ACCOUNT
from etude.tokenizers.symbolic.base import SymbolicTokenizer, transposed
from etude.tokenizers.symbolic.remi_z_grammar import RemiZGrammar
from etude.tokenizers.symbolic.remi_z_layout import (
    GridLayout,
    bar_ticks,
    in_order,
    lay_out,
    ticks_per_quarter,
)
from etude.tokenizers.symbolic.remi_z_lines import LEVELS, from_lines, to_lines
from etude.tokenizers.symbolic.remi_z_vocabulary import (
    BAR,
    DURATION,
    INSTRUMENT,
    NUMBER_OF,
    OF_LOUDNESS,
    ONSET,
    PITCH,
    SIGNATURE,
    SIGNATURES,
    SLOWEST,
    STEPS,
    TEMPO,
    TEMPOS,
    UPBEAT,
    VELOCITY,
    Bar,
    OpenBar,
    Vocabulary,
)

VERSION = 1
MINUTE = 60e6  # microseconds
MOSTLY = 120  # quarters a minute where a file says nothing


class RemiZTokenizer(SymbolicTokenizer):
    """REMI-z behind Étude's interface, with the way to phrases and back."""

    version = VERSION
    settings_class = RemiZ
    pad, bos, eos, mask = 0, 1, 2, 3
    count_columns = (*ACCOUNT, "tokens", "rounded", "clamped", "bars", "key_shift")

    def __init__(self, settings: RemiZ) -> None:
        super().__init__(settings)
        self.words = Vocabulary(settings)
        self.vocabulary = self.words.size
        self.ticks_per_quarter = ticks_per_quarter(settings)

    # ------------------------------------------------------------------------------ notes

    def encode(self, table: NoteTable) -> list[int]:
        """The ids of a piece; times are brought to the nearest position."""
        layout = lay_out(table, self.settings)
        return self.join(self._bars_of(layout, table)) if len(layout.bar) else []

    def decode(self, ids: Sequence[int]) -> NoteTable:
        """The notes of any ids; the track of a note is its slot."""
        found = self.bars(ids)
        signature = np.array([NUMBER_OF[bar.signature] for bar in found], np.int64)
        lengths = bar_ticks(signature, self.settings) if found else np.zeros(0, np.int64)
        tick = self.ticks_per_quarter // self.settings.positions_per_beat
        late = found[0].start * tick if found else 0
        begin = np.cumsum(lengths) - lengths - late
        rows = [
            (
                begin[number] + position * tick,
                duration * tick,
                pitch,
                loud,
                slot,
                bar.instruments[slot],
            )
            for number, bar in enumerate(found)
            for slot, phrase in enumerate(bar.phrases)
            for position, pitch, duration, loud in self.phrase_notes(phrase)
        ]
        onset, duration, pitch, velocity, track, program = np.array(rows, np.int64).reshape(-1, 6).T
        drums = (program == DRUMS) | (pitch >= DRUMS)
        table = plain_table(
            np.maximum(onset, 0),
            duration,
            pitch % 128,
            velocity=velocity,
            program=np.where(drums, DRUMS, program),
            track=track,
            quarters_a_minute=self.settings.tempo,
            ticks_per_quarter=self.ticks_per_quarter,
        )
        begin = begin.clip(0)
        signatures = self._signatures(found, begin, lengths - late)
        return replace(table, signatures=signatures, tempos=self._tempos(found, begin, table))

    def notes_in(self, ids: Sequence[int]) -> int:
        """How many pitches there are."""
        array = np.asarray(ids, np.int64)
        return int((self.words.kinds[array] == PITCH).sum())

    def losses(self, table: NoteTable, ids: Sequence[int]) -> dict[str, int]:
        """Drums without a word, notes beyond the last bar, tracks beyond the slots."""
        return lay_out(table, self.settings).lost

    def prepared(self, table: NoteTable, data: bytes) -> tuple[NoteTable, int]:
        """The piece in C major or A minor, where the settings want that."""
        if not self.settings.normalise_key:
            return table, 0
        key = written_key(data) if self.settings.key_from == "file" else None
        key = key or find_key(table, self.settings.key_profile)
        return transposed(table, key.shift), key.shift

    def measured(self, table: NoteTable, moved: int) -> dict[str, int]:
        """Notes off the grid, notes that were cut, bars, and the shift to C major or A minor."""
        layout = lay_out(table, self.settings)
        counts = {"rounded": layout.rounded, "clamped": layout.clamped}
        return counts | {"bars": len(layout.signature), "key_shift": moved}

    # ---------------------------------------------------------------------------- phrases

    def bars(self, ids: Sequence[int]) -> list[Bar]:
        """The bars of any ids, each with all slots: see `Vocabulary.read` for what is passed over.

        There are as many slots as the settings have, or as the ids state where that is more. By
        program a slot is a program, in the order of the settings.
        """
        read = self.words.read(ids)
        if self.settings.tracks == "program":
            parts, chosen = self._by_program(read)
        else:
            parts, chosen = [bar.phrases for bar in read], self._carried(read)
        slots = max([self.settings.slots, *map(len, parts)])
        return [
            Bar(
                bar.signature,
                self.words.positions(bar.signature),
                [*phrases, *([] for _ in range(slots - len(phrases)))],
                [*instruments, *[0] * (slots - len(instruments))],
                bar.start,
                bar.tempo,
            )
            for bar, phrases, instruments in zip(read, parts, chosen, strict=True)
        ]

    def join(self, found: Sequence[Bar]) -> list[int]:
        """The ids of bars. Slots after the last one that ever plays are not stated."""
        word = self.words.id
        ids: list[int] = []
        every = self.settings.tracks == "track"
        playing = [[i for i, phrase in enumerate(bar.phrases) if phrase] for bar in found]
        last = max((max(slots) for slots in playing if slots), default=-1) + 1
        for number, (bar, slots) in enumerate(zip(found, playing, strict=True)):
            if self.settings.time_signatures:
                ids.append(word(SIGNATURE, NUMBER_OF[bar.signature]))
            if bar.start and not number:
                ids.append(word(UPBEAT, bar.start))
            if self.settings.tempos:
                tempo = self._tempo_number(self.settings.tempo) if bar.tempo is None else bar.tempo
                ids.append(word(TEMPO, tempo))
            for slot in range(min(last, len(bar.phrases))) if every else slots:
                ids += [word(INSTRUMENT, bar.instruments[slot]), *bar.phrases[slot]]
            ids.append(word(BAR, 1))
        return ids

    def phrase_notes(self, ids: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """The whole notes of a phrase: position, pitch (drums 128 more), duration, velocity."""
        return self.words.notes(ids)

    @property
    def phrase_vocabulary(self) -> list[int]:
        """The ids that occur inside a phrase, in their order."""
        return self.words.of_phrases

    def numbers(self) -> list[tuple[str, int]]:
        """Of each id what it counts and the number: ("o", 36); see `Vocabulary.numbers`."""
        return self.words.numbers()

    def names(self) -> list[str]:
        """`s-4/4`, `i-0`, `o-36`, `p-72`, `d-12`, `b-1`, ..."""
        return self.words.names

    def to_lines(self, ids: Sequence[int], level: str) -> Iterator[str]:
        """JSON lines, a bar, a phrase or a position each: see `remi_z_lines`."""
        return to_lines(self.words, ids, self.bars(ids), level)

    def from_lines(self, lines: Iterable[str], where: str) -> list[int]:
        """The ids of JSON lines of any level; `where` they stand is for messages.

        Raises:
            UserError: a line is not of that form.
        """
        return from_lines(self.words, lines, where)

    def files(self, ids: Sequence[int]) -> dict[str, str]:
        """The JSON lines of each level."""
        return {f".{level}.jsonl": "".join(self.to_lines(ids, level)) for level in LEVELS}

    # ---------------------------------------------------------------------------- grammar

    def grammar(self) -> RemiZGrammar:
        """Bars as `encode` writes them, notes in their order, positions that the bar has."""
        return RemiZGrammar(self.words, self.eos)

    def invalid_share(self, ids: Sequence[int], prompt: Sequence[int] = ()) -> float:
        """By the grammar, one token after the other; BOS may begin."""
        grammar = self.grammar()
        state, states = grammar.start(1), []
        every = [*prompt, *ids]
        for i in every:
            states.append(state)
            state = grammar.advance(state, torch.tensor([i]))
        if not len(ids):
            return 0.0
        judged = torch.cat(states[len(prompt) :])
        chosen = torch.as_tensor(list(ids), dtype=torch.int64)
        return float((~grammar.allowed(judged)[torch.arange(len(ids)), chosen]).float().mean())

    # ---------------------------------------------------------------------------- in parts

    def _bars_of(self, layout: GridLayout, table: NoteTable) -> list[Bar]:
        """A layout as bars; notes by onset up, then pitch, duration and velocity down."""
        word, loud = self.words.id, self.settings.velocities
        tempos = self._tempos_at(layout.ticks, table) if self.settings.tempos else None
        slots = len(layout.instruments)
        found = [
            Bar(
                SIGNATURES[signature],
                self.words.positions(SIGNATURES[signature]),
                [[] for _ in range(slots)],
                layout.instruments,
                0 if number else layout.start,
                None if tempos is None else int(tempos[number]),
            )
            for number, signature in enumerate(layout.signature.tolist())
        ]
        columns = (layout.bar, layout.slot, layout.position, layout.pitch, layout.duration)
        velocity = (layout.velocity // OF_LOUDNESS) if loud else np.zeros_like(layout.velocity)
        order = np.lexsort((-velocity, -columns[4], -columns[3], *columns[2::-1]))
        rows = np.stack([*columns, velocity])[:, order].T.tolist()
        before = None
        for bar, slot, position, pitch, duration, level in rows:
            phrase = found[bar].phrases[slot]
            if (bar, slot, position) != before:
                phrase.append(word(ONSET, position))
                before = bar, slot, position
            phrase += [word(PITCH, pitch), word(DURATION, duration)]
            if loud:
                phrase.append(word(VELOCITY, level))
        return found

    def _by_program(self, read: list[OpenBar]) -> tuple[list[list[list[int]]], list[list[int]]]:
        """Of each bar the phrases of all programs that any bar states, and these programs."""
        stated = sorted({program for bar in read for program in bar.instruments})
        notes = [
            (stated.index(program), pitch % 128)
            for bar in read
            for program, phrase in zip(bar.instruments, bar.phrases, strict=True)
            for _, pitch, *_ in self.words.notes(phrase)
        ]
        voice, pitch = np.array(notes, np.int64).reshape(-1, 2).T
        order = [stated[i] for i in in_order(voice, pitch, np.array(stated), self.settings)]
        parts = []
        for bar in read:
            phrases: dict[int, list[int]] = {program: [] for program in order}
            for program, phrase in zip(bar.instruments, bar.phrases, strict=True):
                phrases[program] += phrase
            parts.append(list(phrases.values()))
        return parts, [order] * len(read)

    @staticmethod
    def _carried(read: list[OpenBar]) -> list[list[int]]:
        """Of each bar the instruments of the slots so far: its own, else the last ones before."""
        now: list[int] = []
        found = []
        for bar in read:
            now = [*bar.instruments, *now[len(bar.instruments) :]]
            found.append(now)
        return found

    def _signatures(self, found: list[Bar], begin: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Time signatures where they change; an upbeat has one of its own."""
        upbeat = bool(found) and found[0].start > 0
        if not self.settings.time_signatures:
            return bars.with_upbeat(int(first[0]) if upbeat else 0, self.ticks_per_quarter)
        rows = [
            (int(tick), *bar.signature)
            for tick, bar, before in zip(begin, found, [None, *found], strict=False)
            if before is None or bar.signature != before.signature
        ]
        if upbeat:
            short = int(first[0])
            rows[:1] = [
                (0, *bars.signature(short, self.ticks_per_quarter)),
                (short, *found[0].signature),
            ]
        return np.array(rows, np.int64).reshape(-1, 3)

    def _tempos(self, found: list[Bar], begin: np.ndarray, table: NoteTable) -> np.ndarray:
        """Tempos where they change; the settings' where none is stated."""
        rows: list[tuple[int, int]] = []
        for tick, bar in zip(begin.tolist(), found, strict=True):
            if bar.tempo is not None:
                a_minute = SLOWEST * 2 ** (bar.tempo / STEPS)
                row = (tick if rows else 0, round(MINUTE / a_minute))
                rows += [] if rows and rows[-1][1] == row[1] else [row]
        return np.array(rows, np.int64) if rows else table.tempos

    @staticmethod
    def _tempo_number(a_minute: float | np.ndarray) -> Any:
        return (
            np.rint(STEPS * np.log2(np.asarray(a_minute) / SLOWEST)).clip(0, TEMPOS - 1).astype(int)
        )

    def _tempos_at(self, ticks: np.ndarray, table: NoteTable) -> np.ndarray:
        """The number of the tempo token at the beginning of each bar."""
        place = np.searchsorted(table.tempos[:, 0], ticks.clip(0), side="right") - 1
        known = np.append(MINUTE / table.tempos[:, 1], MOSTLY)  # the last is for "before the first"
        return self._tempo_number(known[place])
