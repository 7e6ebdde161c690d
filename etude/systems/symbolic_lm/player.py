"""The player of `symbolic_lm`: prompts, sampling in batches, notes and where the prompt ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.clips.clip import Clip
from etude.clips.progress import (
    GenerationProgress,
    Stopped,
    Tell,
    batches,
    silent,
    stopping,
)
from etude.clips.sampling import ClipStreams, clip_seed
from etude.config import CorpusBase
from etude.config.systems.symbolic_lm import SymbolicGenerate, SymbolicLm
from etude.midi.continuation import after
from etude.midi.notes import NoteTable
from etude.midi.render import play_notes
from etude.systems.base import ShouldStop, Wave
from etude.systems.conditions import Conditions, refuse
from etude.systems.symbolic_lm.prompts import Prompt, held_out_prompts, read_prompt
from etude.systems.symbolic_lm.sampling import Drawn, Rules, sample
from etude.systems.symbolic_lm.stage import SymbolicLmStage
from etude.tokenizers.symbolic.base import Grammar, SymbolicTokenizer

VERSION = 3  # raised when the same tokens give other clips

log = logging.getLogger(__name__)
FIRST_TOKENS = 256  # tried for a length in time; doubled until there is music enough
MOST_TOKENS = 16384
ALL = 2**20  # tokens of a prompt: more than any has


@dataclass
class GeneratedPiece:
    """One generated item; of the user's music, as the file has it and not as tokens have it.

    Attributes: table (prompt and what follows), prompt (its notes alone), prime_s (when what was
    generated begins), drawn, given (the prompt), invalid (share of forbidden tokens), seconds_used.
    """

    table: NoteTable
    prompt: NoteTable
    prime_s: float
    drawn: Drawn
    given: Prompt
    invalid: float
    seconds_used: float = 0.0


@dataclass
class NotesRequest:
    """What clips are asked to be.

    Attributes: prompts (in turn; none: from nothing), given (tokens of a prompt that the network
    is given at most), seconds, or bars of the user's music, after the prompt (None:
    `new_tokens` of the settings).
    """

    prompts: list[Prompt] = field(default_factory=list)
    given: int = ALL
    seconds: float | None = None
    bars: float | None = None

    def end_s(self, music: GeneratedPiece) -> float | None:
        """Second at which a clip is cut."""
        if self.seconds is not None:
            return music.prime_s + self.seconds
        own = music.given.own
        return own.piece.bars_s(self.bars) if own and self.bars is not None else None


class SymbolicLmPlayer:
    """Network, tokenizer, and how notes are played, ready to make clips.

    Args:
        corpus: its filter and its way of rendering.
        packed: the token set, where held-out prompts are read; without it (outside the workflow)
            clips begin from nothing, or from the user's MIDI.
    """

    Settings = SymbolicGenerate

    def __init__(
        self,
        stage: SymbolicLmStage,
        tokenizer: SymbolicTokenizer,
        corpus: CorpusBase,
        packed: Path | None = None,
    ) -> None:
        self.stage, self.tokenizer, self.corpus, self.packed = stage, tokenizer, corpus, packed

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return self.corpus.render.rate

    @property
    def begin(self) -> int:
        """The id that stands for the beginning of a piece (as in training)."""
        bos = self.tokenizer.bos
        return self.tokenizer.pad if bos is None else bos

    def prepare(self, settings: SymbolicGenerate, conditions: Conditions) -> NotesRequest:
        """Read what clips continue.

        Raises:
            UserError: a MIDI file cannot be used, or no held-out piece is long enough.
        """
        refuse(conditions, SymbolicLm.conditions, "symbolic_lm")
        given = settings.prompt_tokens if conditions.tokens is None else conditions.tokens
        prompts = [
            read_prompt(path, self.tokenizer, self.corpus, given or None)
            for path in conditions.files
        ]
        if not prompts and settings.prompt == "held_out" and self.packed is not None:
            prompts = held_out_prompts(self.packed, settings)
        return NotesRequest(prompts, given or ALL, conditions.seconds, conditions.bars)

    def clips(
        self,
        settings: SymbolicGenerate,
        seed: int,
        draw: int,
        conditions: NotesRequest,
        progress: Tell,
        should_stop: ShouldStop,
    ) -> Iterator[Clip]:
        """Sample and render clips; clip i continues prompt i modulo their number."""
        settings = settings.model_copy(update={"prompt_tokens": conditions.given})
        tell = stopping(progress, should_stop)
        timed = conditions.seconds is not None or conditions.bars is not None
        make = self._long_enough if timed else self.music
        for music in make(settings, draw, conditions, tell):
            if should_stop():
                raise Stopped
            yield self._clip(music, settings, conditions, {"seed": seed, "draw": draw})

    def music(
        self,
        settings: SymbolicGenerate,
        draw: int,
        conditions: NotesRequest | None = None,
        tell: Tell = silent,
        *,
        ends: bool = True,
    ) -> Iterator[GeneratedPiece]:
        """Sample items batch by batch, each of `new_tokens` tokens after its prompt.

        Args:
            ends: whether the model may end a piece.
        """
        prompts = (conditions.prompts if conditions else []) or [Prompt()]
        total, began = settings.clips * settings.new_tokens, time.perf_counter()
        done = 0
        for part in batches(settings.clips, settings.batch_size):
            chosen = [prompts[clip % len(prompts)] for clip in part]
            seeds = [clip_seed(draw, clip) for clip in part]

            def step(size: int = len(part)) -> None:
                nonlocal done
                done = min(done + size, total)
                used = time.perf_counter() - began
                rest = used * (total / done - 1)
                tell(GenerationProgress("lm", 100 * done / total, 0.0, rest))

            start = time.perf_counter()
            drawn = self.sample(chosen, settings, seeds, settings.new_tokens, step, ends=ends)
            used = (time.perf_counter() - start) / len(part)
            done = part.stop * settings.new_tokens  # clips may end early
            for prompt, found in zip(chosen, drawn, strict=True):
                yield self._music(prompt, found, settings.sampling.grammar, used)

    def _long_enough(
        self, settings: SymbolicGenerate, draw: int, conditions: NotesRequest, tell: Tell
    ) -> list[GeneratedPiece]:
        """Items that reach the end or ended by themselves.

        What follows the user's own music does not end early: her song may be over, and she asks
        for more. From nothing, a piece may be a short one.
        The same streams give the same tokens each time, so more tokens make the music longer and
        change nothing of it.
        """
        count, ends = FIRST_TOKENS, not conditions.prompts
        while True:
            longer = settings.model_copy(update={"new_tokens": count})
            made = list(self.music(longer, draw, conditions, tell, ends=ends))
            short = [
                music
                for music in made
                if not music.drawn.ended and music.table.seconds < (conditions.end_s(music) or 0)
            ]
            if not short or count >= MOST_TOKENS:
                break
            count *= 2
        if short:
            log.warning("%d clips are shorter than asked after %d tokens", len(short), count)
        return made

    def play(self, table: NoteTable, least_s: float = 0.1, midi: bytes | None = None) -> Wave:
        """Notes as sound: see `etude.midi.render.play_notes`."""
        return play_notes(table, self.corpus, least_s, midi)

    def sample(
        self,
        prompts: Sequence[Prompt],
        settings: SymbolicGenerate,
        seeds: list[int],
        count: int,
        on_token: Callable[[], None] = lambda: None,
        *,
        ends: bool = True,
    ) -> list[Drawn]:
        """Draw up to `count` tokens after each prompt; the end of a piece only where it `ends`."""
        starts = [self._start(prompt, settings.prompt_tokens) for prompt in prompts]
        grammar, bos, eos = self.tokenizer.grammar(), self.tokenizer.bos, self.tokenizer.eos
        special = (self.tokenizer.pad, self.tokenizer.unknown, bos)
        never = {number for number in special if number is not None and number != eos}
        end = set() if ends or eos is None else {eos}
        rules = Rules(
            grammar=grammar,
            state=self._states(grammar, prompts, settings.prompt_tokens),
            constrain=settings.sampling.grammar,
            # Without the grammar all is drawn as the network gives it, and what is wrong counted.
            never=sorted(end | never if settings.sampling.grammar else end),
        )
        streams = ClipStreams(seeds, self.stage.device)
        return sample(
            self.stage, starts, count, streams, settings.sampling,
            rules=rules, move=settings.move, on_token=on_token,
        )  # fmt: skip

    def _states(self, grammar: Grammar, prompts: Sequence[Prompt], most: int) -> Tensor | None:
        """The grammar's states after what the network is not given of long prompts."""
        if all(len(prompt.ids) <= most for prompt in prompts):
            return None
        found: dict[int, Tensor] = {}
        for prompt in {id(prompt): prompt for prompt in prompts}.values():
            state = grammar.start(1)
            for number in prompt.ids[: max(len(prompt.ids) - most, 0)]:
                state = grammar.advance(state, torch.tensor([number]))
            found[id(prompt)] = state
        return torch.cat([found[id(prompt)] for prompt in prompts]).to(self.stage.device)

    def _start(self, prompt: Prompt, most: int) -> list[int]:
        """The ids that the network is given: the last ones of a long prompt, or its beginning."""
        if len(prompt.ids) > most:
            return prompt.ids[-most:]
        begun = prompt.ids[:1] == [self.begin]
        return prompt.ids if begun else [self.begin, *prompt.ids]

    def _music(
        self, prompt: Prompt, drawn: Drawn, constrained: bool, used: float
    ) -> GeneratedPiece:
        """Ids as notes."""
        table = self.tokenizer.decode([*prompt.ids, *drawn.ids])
        before = self.tokenizer.decode(prompt.ids) if prompt.ids else table.at(np.zeros(0, int))
        invalid = (
            drawn.invalid
            if constrained
            else self.tokenizer.invalid_share(drawn.ids, prompt.ids or [self.begin])
        )
        prime_s = first_new(table, before) if prompt.ids else 0.0
        if prompt.own:
            piece = prompt.own.piece
            table = piece.joined(prompt.own.place(table, before))
            before, prime_s = piece.table, piece.seam_s
        return GeneratedPiece(table, before, prime_s, drawn, prompt, invalid, used)

    def _clip(
        self,
        music: GeneratedPiece,
        settings: SymbolicGenerate,
        conditions: NotesRequest,
        row: dict[str, Any],
    ) -> Clip:
        """An item as a clip: cut where a length in time is asked, else with all that was drawn."""
        end, own = conditions.end_s(music), music.given.own
        table = music.table if end is None else after(music.table, 0.0, end)
        midi = own.piece.file(table) if own else None
        least_s = music.prime_s + settings.seconds if end is None else 0.1
        wave = self.play(table, least_s, midi)
        row |= {
            "tokens": len(music.drawn.ids),
            "ended": str(music.drawn.ended).lower(),
            "prime_seconds": f"{music.prime_s:.3f}",
            "heard_seconds": f"{settings.seconds:g}",
            "prompt_tokens": len(music.given.ids),
            "invalid_share": f"{music.invalid:.6f}",
            "entropy": f"{music.drawn.entropy:.6f}",
        }
        condition = {"prompt": music.given.source}
        result = piece_row(music)
        if settings.times:
            result["generation_time"] = round(music.seconds_used, 4)
        parts = self._parts(music)
        return Clip(wave, row, table, condition, parts, result, self.rate, midi=midi)

    def _parts(self, music: GeneratedPiece) -> dict[str, NoteTable]:
        """Prompt, continuation and original apart, for metrics that compare them."""
        if not music.given.ids:
            return {}
        own = music.given.own
        new = own.piece.behind(music.table) if own else after(music.table, music.prime_s)
        parts = {"prompts": music.prompt, "generated": new}
        if music.given.original:
            whole = self.tokenizer.decode([*music.given.ids, *music.given.original])
            parts["originals"] = after(whole, first_new(whole, music.prompt))
        return parts


def first_new(table: NoteTable, before: NoteTable) -> float:
    """Seconds at which the first note begins after the last onset of `before`, the prompt.

    Notes that complete the prompt's last chord count as the prompt's: it sounds with them.
    """
    last = before.onset_s.max(initial=-1.0)
    later = table.onset_s[table.onset_s > last + 1e-9]
    return float(later[0]) if len(later) else before.seconds


def piece_row(music: GeneratedPiece) -> dict[str, Any]:
    """Neuromusic's row of results.json; each name is a clip's own, so none is written twice."""
    return {
        "prompt_length": len(music.given.ids),
        "generated_length": len(music.drawn.ids),
        "original_length": len(music.given.original),
        "continued_original_length": len(music.given.ids) + len(music.given.original),
        "ended_with_eos": music.drawn.ended,
        "prompt_original_path": music.given.source,
        "entropy": round(music.drawn.entropy, 6),
        "invalid_share": round(music.invalid, 6),
    }
