"""REMI, TSD and Structured by the MidiTok package, with Neuromusic's settings as defaults.

Sizes under these settings, specials included: REMI 348, TSD 379, Structured 366. Neuromusic's
MidiTok 3.0.0 gives the same; from 3.0.4 on that holds with `drum_pitches: false` only, since 62
tokens for the pitches of drums became the default. What comes back: onsets and durations at 8
positions a quarter (durations from 4 quarters on at 4, at most 12 quarters), 16 velocities, one
note of equal onset, pitch and program; Structured has one time shift between two notes, which is
as coarse and as short as a duration. Bars are of four quarters, whatever
the time signature; REMI's begin where the piece's do: an upbeat is the end of its first bar, and
what it decodes begins with its first beat that has a note. Voices become one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from etude.config import Remi, Structured, Tsd
from etude.midi import bars
from etude.midi.notes import DRUMS, NoteTable
from etude.midi.writing import plain_table, to_score
from etude.pool import Failed, tried
from etude.tokenizers.symbolic.base import SymbolicTokenizer

VERSION = 2
FILE = "tokenizer.json"  # MidiTok's own
CLASSES = {"remi": Remi, "tsd": Tsd, "structured": Structured}
SPECIALS = ("PAD", "BOS", "EOS", "MASK")
WHOLE = ("Duration", "Bar", "Rest")  # types after which a piece may end
BAR = 4  # quarters
# In place of a position in a bar: none yet; the one before stays; later than all.
NO_POSITION, AS_BEFORE, ANY_TIME = -1, -2, 2**31

log = logging.getLogger(__name__)


class MidiTokTokenizer(SymbolicTokenizer):
    """A tokenizer of MidiTok's behind Étude's interface."""

    version = VERSION
    pad, bos, eos = 0, 1, 2

    def __init__(self, settings: Remi | Tsd | Structured, path: Path | None = None) -> None:
        super().__init__(settings)
        import miditok

        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # pools fork
        kind = getattr(miditok, {"remi": "REMI", "tsd": "TSD"}.get(settings.kind, "Structured"))
        self.tok: Any = kind(params=path) if path else kind(_config(settings))
        self.vocabulary = len(self.tok)
        self.ticks_per_quarter = int(self.tok.time_division)

    def encode(self, table: NoteTable) -> list[int]:
        """The ids of the notes in the range of pitches, as MidiTok gives them."""
        if not len(table := self._audible(table)):
            return []
        ids: list[int] = self._sequence(table).ids
        return ids

    def _audible(self, table: NoteTable) -> NoteTable:
        """One voice a program; without tokens for programs one in all, and drums are none."""
        table = table.as_one_track()
        return table if self.settings.programs else table.without_drums().played_with(0)

    def _sequence(self, table: NoteTable, **options: Any) -> Any:
        """MidiTok's own, of notes that are `_audible`; without programs it gives one a track."""
        found = self.tok.encode(to_score(self._on_bars(table)), **options)
        return found[0] if isinstance(found, list) else found

    def _on_bars(self, table: NoteTable) -> NoteTable:
        """An upbeat moved to the end of a bar, where there are bars; no signatures."""
        bar = BAR * table.ticks_per_quarter
        late = -table.upbeat % bar if self._has_bars else 0
        tempos = table.tempos.copy()
        tempos[tempos[:, 0] > 0, 0] += late  # the first one stays at the beginning
        return replace(table, onset=table.onset + late, tempos=tempos, signatures=bars.NONE)

    def _from_first_beat(self, table: NoteTable) -> NoteTable:
        """Whole beats of silence in the first bar taken away, which is an upbeat then."""
        quarter = table.ticks_per_quarter
        first = int(table.onset[0]) // quarter if len(table) else 0
        if not self._has_bars or not 0 < first < BAR:
            return table
        signatures = bars.with_upbeat((BAR - first) * quarter, quarter)
        tempos = (table.tempos - [first * quarter, 0]).clip(0)
        return replace(
            table, onset=table.onset - first * quarter, tempos=tempos, signatures=signatures
        )

    @property
    def _has_bars(self) -> bool:
        return "Bar" in self.tok.tokens_types_graph

    def decode(self, ids: Sequence[int]) -> NoteTable:
        """The notes that MidiTok finds; ids that mean nothing are passed over."""
        from miditok import TokSequence

        kept = [int(i) for i in ids if 0 <= i < self.vocabulary and i >= len(SPECIALS)]
        tokens = TokSequence(ids=kept, are_ids_encoded=self.tok.is_trained)
        score = self.tok.decode(tokens if self.settings.programs else [tokens])
        parts, programs = [], []
        for track in score.tracks:
            notes = track.notes.numpy()
            parts.append([notes[name] for name in ("time", "duration", "pitch", "velocity")])
            programs.append(np.full(len(parts[-1][0]), 128 if track.is_drum else track.program))
        columns = [np.concatenate(c) for c in zip(*parts, strict=True)] or [np.zeros(0)] * 4
        table = plain_table(
            columns[0],
            np.maximum(columns[1], 1),
            columns[2],
            velocity=columns[3],
            program=np.concatenate(programs) if programs else 0,
            quarters_a_minute=self.settings.tempo,
            ticks_per_quarter=score.ticks_per_quarter,
        )
        table = _with_tempos(table, score) if self.settings.tempos else table
        return self._from_first_beat(table)

    def notes_in(self, ids: Sequence[int]) -> int:
        """How many pitches there are."""
        return int(self._pitches[np.asarray(ids, np.int64)].sum())

    @cached_property
    def _pitches(self) -> np.ndarray:
        """The pitches of each id: int64 [vocabulary]."""
        return np.array([sum(t.startswith("Pitch") for t in names) for names in self._tokens()])

    def losses(self, table: NoteTable, ids: Sequence[int]) -> dict[str, int]:
        """As MidiTok does it: by range, then equal onset, pitch and program on its grid."""
        no_word, table = len(table) - len(self._audible(table)), self._audible(table)
        drums = (table.program == DRUMS) & self.settings.drum_pitches
        (low, high), (low_drum, high_drum) = (
            self.tok.config.pitch_range,
            self.tok.config.drums_pitch_range,
        )
        lowest, highest = np.where(drums, low_drum, low), np.where(drums, high_drum, high)
        inside = table.at((table.pitch >= lowest) & (table.pitch <= highest))
        doubled = 0
        if self.settings.drop_doubled:
            places = np.stack([inside.onset, inside.pitch, inside.program])
            doubled = len(inside) - np.unique(places, axis=1).shape[1]
        return {
            "no_word": no_word,
            "out_of_range": len(table) - len(inside),
            "doubled": doubled,
            "simultaneous": len(inside) - doubled - self.notes_in(ids),
        }

    def names(self) -> list[str]:
        """MidiTok's tokens; of learnt ids the tokens they stand for, joined by a space."""
        return [" ".join(tokens) for tokens in self._tokens()]

    def grammar(self) -> TypeGrammar:
        """MidiTok's graph of token types; a piece ends where a note is whole, time goes on."""
        return TypeGrammar(self.tok.tokens_types_graph, self._tokens(), self.eos)

    def invalid_share(self, ids: Sequence[int], prompt: Sequence[int] = ()) -> float:
        """Ids whose type may not follow the type before, or whose position goes back."""
        if not len(ids):
            return 0.0
        grammar = self.grammar()
        every = torch.as_tensor([self.bos, *prompt, *ids], dtype=torch.int64)
        good = grammar.follows(every[1:], grammar.states(every)[:-1])
        return float((~good[-len(ids) :]).float().mean())

    def learn(self, tables: Iterable[NoteTable]) -> None:
        """Learn byte pairs from music, up to the vocabulary that the settings name."""
        texts = []
        for table in tables:
            text = tried(self._text, table)
            if isinstance(text, Failed):
                log.warning("a piece is left out: %s", text.reason)
            else:
                texts.append(text)
        self.tok.train(vocab_size=self.settings.bpe, model="BPE", iterator=texts)
        self.__dict__.pop("_pitches", None)
        self.vocabulary = len(self.tok)
        if self.vocabulary < self.settings.bpe:
            log.warning(
                "the training split has no more byte pairs than for %d tokens, %d were asked for",
                self.vocabulary,
                self.settings.bpe,
            )

    def _text(self, table: NoteTable) -> Any:
        """What byte pairs are learnt from, of a piece."""
        sequence = self._sequence(self._audible(table), encode_ids=False)
        parts = [bar.ids for bar in sequence.split_per_bars() if len(bar)]
        return self.tok._ids_to_bytes(parts, as_one_str=True)  # noqa: SLF001

    def save(self, folder: Path) -> None:
        """Write config.json and MidiTok's tokenizer.json."""
        super().save(folder)
        self.tok.save(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, byte pairs included."""
        cls.settings_class = _AnySettings
        plain = super().load(folder)
        return cls(plain.settings, folder / FILE) if plain.settings.bpe else plain

    def _tokens(self) -> list[list[str]]:
        """The base tokens of each id."""
        if not self.tok.is_trained:
            return [[name] for name, _ in sorted(self.tok.vocab.items(), key=lambda kv: kv[1])]
        found: list[list[str]] = [[] for _ in range(self.vocabulary)]
        learnt = self.tok.vocab_model
        for text, number in learnt.items():
            found[number] = list(self.tok._vocab_learned_bytes_to_tokens[text])  # noqa: SLF001
        return found


class _AnySettings:
    """The settings of whichever of the three."""

    @staticmethod
    def model_validate(values: dict[str, Any]) -> Any:
        return CLASSES[values["kind"]].model_validate(values)


class TypeGrammar:
    """The state is the type of the last token and the last position in its bar: int64 [batch, 2].

    Types alone would let REMI write a bar's positions backwards. A rest can reach the next bar
    without a token for it, so that any position may follow one.
    """

    def __init__(self, graph: dict[str, set[str]], tokens: list[list[str]], eos: int) -> None:
        types = sorted({name.split("_")[0] for names in tokens for name in names})
        number = {name: i for i, name in enumerate(types)}
        first = torch.tensor([number[names[0].split("_")[0]] if names else -1 for names in tokens])
        last = torch.tensor([number[names[-1].split("_")[0]] if names else -1 for names in tokens])
        may = torch.zeros(len(types), len(types), dtype=torch.bool)
        for name, followers in graph.items():
            for follower in followers:
                if name in number and follower.split("_")[0] in number:
                    may[number[name], number[follower.split("_")[0]]] = True
        for special in SPECIALS:
            may[:, number[special]] = False
        may[[number[name] for name in WHOLE if name in number], number["EOS"]] = True
        self._begin(may, number)
        self.last = last.clamp(min=0)
        self.table = may[:, first.clamp(min=0)] & (first >= 0)
        # After the end, and after what cannot be followed, only the end is left.
        self.table[~self.table.any(dim=1), eos] = True
        places = torch.tensor([_positions(names) for names in tokens], dtype=torch.int64)
        self.first_position, self.last_position = places.unbind(1)
        self._start = number["BOS"]

    @staticmethod
    def _begin(may: Tensor, number: dict[str, int]) -> None:
        """A piece begins with a bar where there are bars, else with what no type must precede."""
        row = may[number["BOS"]]
        if "Bar" in number:
            row[:] = False
            row[number["Bar"]] = True
        for name in ("Velocity", "Duration", *["Pitch", "PitchDrum"] * ("Program" in number)):
            if name in number:
                row[number[name]] = False
        for name in ("PAD", "MASK"):
            may[number[name]] = row

    def start(self, batch: int, device: Any = "cpu") -> Tensor:
        """As after BOS."""
        return torch.tensor([[self._start, NO_POSITION]], device=device).repeat(batch, 1)

    def advance(self, state: Tensor, ids: Tensor) -> Tensor:
        """The type of the last token of each id, and where in the bar it is."""
        position = self.last_position.to(state.device)[ids]
        position = torch.where(position == AS_BEFORE, state[:, 1], position)
        return torch.stack([self.last.to(state.device)[ids], position], dim=1)

    def allowed(self, state: Tensor) -> Tensor:
        """[batch, vocabulary]."""
        types, position = state.unbind(1)
        onward = self.first_position.to(state.device) > position[:, None]
        return self.table.to(state.device)[types] & onward

    def states(self, ids: Tensor) -> Tensor:
        """The state after each id of one sequence, which begins with BOS: int64 [n, 2]."""
        position = self.last_position[ids]
        index = torch.arange(len(ids)).where(position != AS_BEFORE, 0).cummax(0).values
        return torch.stack([self.last[ids], position[index]], dim=1)

    def follows(self, ids: Tensor, states: Tensor) -> Tensor:
        """Whether each id may come after the state beside it: bool [n]."""
        return self.table[states[:, 0], ids] & (self.first_position[ids] > states[:, 1])


def _positions(names: list[str]) -> tuple[int, int]:
    """The position in its bar that some tokens begin with, and the one that they leave it at."""
    first, last = ANY_TIME, AS_BEFORE
    for name in names:
        kind, _, value = name.partition("_")
        if kind == "Position":
            first = int(value) if last == AS_BEFORE else first
            last = int(value)
        elif kind in ("Bar", "Rest", *SPECIALS):
            last = NO_POSITION
    return first, last


def _config(settings: Any) -> Any:
    from miditok import TokenizerConfig

    resolution = {
        tuple(map(int, beats.split("_"))): n for beats, n in settings.beat_resolution.items()
    }
    return TokenizerConfig(
        pitch_range=(settings.lowest_pitch, settings.highest_pitch),
        beat_res=resolution,
        num_velocities=settings.velocities,
        special_tokens=list(SPECIALS),
        use_chords=settings.chords,
        use_programs=settings.programs,
        use_rests=settings.rests,
        use_tempos=settings.tempos,
        use_time_signatures=False,
        use_pitchdrum_tokens=settings.drum_pitches,
        remove_duplicated_notes=settings.drop_doubled,
    )


def _with_tempos(table: NoteTable, score: Any) -> NoteTable:
    tempos = score.tempos.numpy()
    return replace(table, tempos=np.stack([tempos["time"], tempos["mspq"]], 1).astype(np.int64))
