"""Symbolic clips: prompts, sampling in batches, notes and where the prompt ends in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from etude.clips.sampling import ClipStreams, clip_seed
from etude.config import CorpusBase
from etude.config.systems.symbolic_lm import SymbolicGenerate
from etude.corpus.ingest import taken
from etude.errors import UserError
from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.midi.render import render_midi
from etude.midi.writing import apart, to_score
from etude.systems.audiolm.sampling import GenerationProgress, batches
from etude.systems.symbolic_lm.sampling import Drawn, Rules, sample
from etude.systems.symbolic_lm.stage import SymbolicLmStage, load_stage
from etude.tokenizers.symbolic.base import SymbolicTokenizer
from etude.tokenizers.symbolic.making import load as load_tokenizer
from etude.training.stage import choose_device

VERSION = 1  # raised when the same tokens give other clips
MOST_MINUTES = 600.0  # of a rendered clip

Told = Callable[[GenerationProgress], None]


@dataclass
class Prompt:
    """What a clip goes on from: ids without a beginning's; whose they are; how it went on."""

    ids: list[int] = field(default_factory=list)
    source: str = ""
    original: list[int] = field(default_factory=list)


@dataclass
class SymbolicClip:
    """One generated item.

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
class SymbolicInstrument:
    """All that is needed to make clips: network, tokenizer, and how notes are played."""

    stage: SymbolicLmStage
    tokenizer: SymbolicTokenizer
    corpus: CorpusBase

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return self.corpus.render.rate

    @property
    def begin(self) -> int:
        """The id that stands for the beginning of a piece (as in training)."""
        bos = self.tokenizer.bos
        return self.tokenizer.pad if bos is None else bos

    def play(self, table: NoteTable, least_s: float = 0.1) -> np.ndarray:
        """Notes as sound, float32 [samples]; silence where there are none."""
        wave = np.zeros(0, np.float32)
        if len(table):
            rules = self.corpus.rules.model_copy(update={"max_minutes": MOST_MINUTES})
            wave = render_midi(to_score(apart(table)), self.corpus.render, rules)
        missing = round(least_s * self.rate) - len(wave)
        return np.pad(wave, (0, max(missing, 0)))

    def sample(
        self,
        prompts: Sequence[Prompt],
        settings: SymbolicGenerate,
        seeds: list[int],
        count: int,
        on_token: Callable[[], None] = lambda: None,
    ) -> list[Drawn]:
        """Draw up to `count` tokens behind each prompt."""
        starts = [self._start(prompt, settings.prompt_tokens) for prompt in prompts]
        grammar, bos, eos = self.tokenizer.grammar(), self.tokenizer.bos, self.tokenizer.eos
        special = (self.tokenizer.pad, self.tokenizer.unknown, bos)
        never = {number for number in special if number is not None and number != eos}
        rules = Rules(
            grammar=grammar,
            constrain=settings.sampling.grammar,
            # Without the grammar all is drawn as the network says it, and what is wrong is counted.
            never=sorted(never) if settings.sampling.grammar else (),
        )
        streams = ClipStreams(seeds, self.stage.device)
        return sample(
            self.stage, starts, count, streams, settings.sampling,
            rules=rules, move=settings.move, on_token=on_token,
        )  # fmt: skip

    def _start(self, prompt: Prompt, most: int) -> list[int]:
        """The ids that the network is given: the last ones of a long prompt, or its beginning."""
        if len(prompt.ids) > most:
            return prompt.ids[-most:]
        begun = prompt.ids[:1] == [self.begin]
        return prompt.ids if begun else [self.begin, *prompt.ids]

    def clip(self, prompt: Prompt, drawn: Drawn, constrained: bool, used: float) -> SymbolicClip:
        """Ids as notes."""
        table = self.tokenizer.decode([*prompt.ids, *drawn.ids])
        before = self.tokenizer.decode(prompt.ids) if prompt.ids else table.at(np.zeros(0, int))
        invalid = (
            drawn.invalid
            if constrained
            else self.tokenizer.invalid_share(drawn.ids, prompt.ids or [self.begin])
        )
        prime_s = first_new(table, before) if prompt.ids else 0.0
        return SymbolicClip(table, before, prime_s, drawn, prompt, invalid, used)


def first_new(table: NoteTable, before: NoteTable) -> float:
    """Seconds at which the first note begins behind the last onset of `before`, the prompt.

    Notes that complete the prompt's last chord count as the prompt's: it sounds with them.
    """
    last = before.onset_s.max(initial=-1.0)
    later = table.onset_s[table.onset_s > last + 1e-9]
    return float(later[0]) if len(later) else before.seconds


def after(table: NoteTable, second: float, until: float | None = None) -> NoteTable:
    """The notes that begin at a time or later (and before another), counted from there.

    What sounds at `until` ends there.
    """
    kept = table.onset_s >= second - 1e-9
    if until is not None:
        kept &= table.onset_s < until - 1e-9
    part = table.at(kept)
    if until is not None and len(part):
        length = np.maximum(part.duration * np.minimum(
            (until - part.onset_s) / np.maximum(part.end_s - part.onset_s, 1e-9), 1.0
        ), 1)  # fmt: skip
        part = replace(part, duration=length.astype(np.int64))
    if second <= 0 or not len(part):
        return part
    tick = int(np.interp(second, [0.0, *table.onset_s], [0, *table.onset]))
    return replace(part, onset=np.maximum(part.onset - tick, 0))


def load_symbolic(model: Path, tokenizer: Path, corpus: CorpusBase) -> SymbolicInstrument:
    """A trained network and its tokenizer from their folders.

    Raises:
        UserError: one is not there, or they do not belong together.
    """
    stage = load_stage(model, tokenizer).to(choose_device())
    return SymbolicInstrument(stage, load_tokenizer(tokenizer), corpus)


def generate_symbolic(
    instrument: SymbolicInstrument,
    settings: SymbolicGenerate,
    draw: int,
    prompts: Sequence[Prompt] = (),
    progress: Told = lambda event: None,
) -> Iterator[SymbolicClip]:
    """Sample clips batch by batch, each of `new_tokens` tokens behind its prompt."""
    prompts = prompts or [Prompt()]
    total, began = settings.clips * settings.new_tokens, time.perf_counter()
    done = 0
    for part in batches(settings.clips, settings.batch_size):
        chosen = [prompts[clip % len(prompts)] for clip in part]
        seeds = [clip_seed(draw, clip) for clip in part]

        def tell(size: int = len(part)) -> None:
            nonlocal done
            done = min(done + size, total)
            used = time.perf_counter() - began
            progress(GenerationProgress("lm", 100 * done / total, 0.0, used * (total / done - 1)))

        start = time.perf_counter()
        drawn = instrument.sample(chosen, settings, seeds, settings.new_tokens, tell)
        used = (time.perf_counter() - start) / len(part)
        done = part.stop * settings.new_tokens  # clips may end early
        for prompt, found in zip(chosen, drawn, strict=True):
            yield instrument.clip(prompt, found, settings.sampling.grammar, used)


# ---------------------------------------------------------------------------------------- prompts


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


def read_prompt(path: Path, instrument: SymbolicInstrument, tokens: int | None = None) -> Prompt:
    """A user's own MIDI as a prompt, with the corpus's filter.

    Args:
        tokens: how many it must have; None: as many as there are.

    Raises:
        UserError: it cannot be read, has no notes or drums alone, or is shorter than asked.
    """
    try:
        whole = read_midi(path)
        table = taken(instrument.corpus.rules, whole)
    except MidiError as error:
        raise UserError(
            "the prompt cannot be used",
            where=str(path),
            why=str(error),
            do="give another MIDI file, or change the corpus's `filter`",
        ) from None
    if len(whole) and not len(whole.without_drums()):
        raise UserError(
            "the prompt has only drums",
            where=str(path),
            why="the tokens are of pitched notes",
            do="give a MIDI file with a part that is no drums",
        )
    ids = instrument.tokenizer.encode(table) if len(table) else []
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
    return Prompt(list(ids), path.name)


def find_prompts(
    instrument: SymbolicInstrument, settings: SymbolicGenerate, packed: Path
) -> list[Prompt]:
    """What the settings say that clips go on from; nothing: from nothing."""
    if settings.prime is not None:
        return [read_prompt(settings.prime, instrument, settings.prompt_tokens)]
    return held_out_prompts(packed, settings) if settings.prompt == "held_out" else []


def describe(clip: SymbolicClip) -> dict[str, Any]:
    """The row of the seed's results.json; each name is a clip's own, so none is written twice."""
    return {
        "prompt_length": len(clip.given.ids),
        "generated_length": len(clip.drawn.ids),
        "original_length": len(clip.given.original),
        "continued_original_length": len(clip.given.ids) + len(clip.given.original),
        "ended_with_eos": clip.drawn.ended,
        "prompt_original_path": clip.given.source,
        "entropy": round(clip.drawn.entropy, 6),
        "invalid_share": round(clip.invalid, 6),
    }
