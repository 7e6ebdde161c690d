"""Sampling from a language model of symbols: windows that slide, grammars, repetition.

All clips of a batch hold the same number of tokens at each step: where the prompts are of
different length, the shorter begin to be drawn while the longer are still read. There is no
padding, and each clip draws from its own stream, so a clip does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from etude.clips.sampling import ClipStreams, draw
from etude.config.systems.symbolic_lm import SymbolicSampling
from etude.systems.symbolic_lm import families
from etude.systems.symbolic_lm.stage import SymbolicLmStage

VERSION = 2  # raised when the same seeds give other tokens


@dataclass
class Drawn:
    """What was drawn for one clip.

    Attributes: ids (without the end), ended (the model said so itself), entropy (mean of the
    model's own distribution, nats), invalid (mean probability of what the grammar forbids; NaN
    where no grammar was given).
    """

    ids: list[int]
    ended: bool
    entropy: float
    invalid: float


@dataclass
class Rules:
    """What may be drawn, beside the sampling's own settings.

    Attributes: grammar (of the tokenizer), state (of the grammar, where the prompts are only the
    ends of what was there), constrain (draw only what it allows), never (ids that are not drawn in
    any case).
    """

    grammar: Any = None
    state: Tensor | None = None
    constrain: bool = False
    never: Sequence[int] = ()


def window_start(position: int, context: int, move: int) -> int:
    """Where the window begins that predicts a position: it moves on in steps, not at every token.

    A function of the position alone, so that neither batch nor prompt decides it.
    """
    return max(-(-(position - context) // move), 0) * move


class _Watch:
    """Sums over the tokens that were drawn so far."""

    def __init__(self, like: Tensor) -> None:
        zeros = torch.zeros(len(like), dtype=torch.float64, device=like.device)
        self.entropy, self.invalid, self.counted = zeros, zeros.clone(), zeros.clone()

    def add(self, logits: Tensor, allowed: Tensor | None, drawn: Tensor) -> None:
        """Count a step for the rows in `drawn`."""
        logs = logits.float().log_softmax(-1)
        chances = logs.exp()
        mask = drawn.double()
        self.entropy -= (chances * logs).sum(-1).double() * mask
        if allowed is not None:
            self.invalid += chances.masked_fill(allowed, 0.0).sum(-1).double() * mask
        self.counted += mask


@torch.inference_mode()
def sample(
    stage: SymbolicLmStage,
    prompts: Sequence[Sequence[int]],
    count: int,
    streams: ClipStreams,
    sampling: SymbolicSampling,
    *,
    rules: Rules | None = None,
    move: int | None = None,
    measure: bool = True,
    on_token: Callable[[], None] = lambda: None,
    cached: bool = True,
) -> list[Drawn]:
    """Draw up to `count` tokens after each prompt.

    Args:
        prompts: ids of each clip, at least one (what stands for the beginning).
        move: tokens by which a full context moves on; None: a quarter of it.
        measure: whether entropy and forbidden probability are wanted.
        cached: False: the whole window is run at every step (to check the cache).
    """
    rules = rules or Rules()
    tokens, lengths = _table(prompts, count, stage.device)
    first, uniform = int(lengths.min()), streams.uniform(count)
    chooser, window = _Chooser(tokens, first, sampling, rules), _Window(stage, move, cached)
    watch, ends = _Watch(lengths), _Ends(lengths, count, stage.shape["eos"])
    for position in range(first, tokens.shape[1]):
        logits = window.logits(tokens, position)
        drawing = ends.drawing(position)
        if measure:
            watch.add(logits, chooser.allowed(), drawing)
        place = (position - lengths).clamp(0, count - 1)[:, None]
        new = draw(chooser.masked(logits, position), uniform.gather(1, place)[:, 0], sampling)
        tokens[:, position] = torch.where(position < lengths, tokens[:, position], new)
        chooser.advance(tokens[:, position])
        ends.note(position, new, drawing)
        on_token()
        if ends.over(position):
            break
    return _clips(tokens, lengths, ends, watch, rules)


class _Ends:
    """Where each clip ends: its tokens are drawn, or the model said the end."""

    def __init__(self, lengths: Tensor, count: int, eos: int | None) -> None:
        self.lengths, self.places, self.eos = lengths, lengths + count, eos
        self.last = lengths + count
        self.ended = torch.zeros(len(lengths), dtype=torch.bool, device=lengths.device)

    def drawing(self, position: int) -> Tensor:
        """Which clips are drawn at a position, and not read from their prompt: bool [B]."""
        return (position >= self.lengths) & ~self.ended & (position < self.last)

    def note(self, position: int, new: Tensor, drawing: Tensor) -> None:
        """Take note of the ends among what was drawn."""
        if self.eos is not None:
            over = drawing & (new == self.eos)
            self.places = torch.where(over, position, self.places)
            self.ended |= over

    def over(self, position: int) -> bool:
        """Whether nothing is left to be drawn after a position."""
        return bool((self.ended | (position + 1 >= self.last)).all())


def _table(
    prompts: Sequence[Sequence[int]], count: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The prompts with room for `count` more after the longest [B, T], and their lengths [B]."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    shape = (len(prompts), int(lengths.max()) + count)
    tokens = torch.zeros(shape, dtype=torch.long, device=device)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt, device=device)
    return tokens, lengths


def _clips(
    tokens: Tensor, lengths: Tensor, ends: _Ends, watch: _Watch, rules: Rules
) -> list[Drawn]:
    means = watch.entropy / watch.counted.clamp(min=1), watch.invalid / watch.counted.clamp(min=1)
    found = []
    for row, ids in enumerate(tokens.tolist()):
        invalid = float(means[1][row]) if rules.grammar is not None else float("nan")
        part = ids[int(lengths[row]) : int(ends.places[row])]
        found.append(Drawn(part, bool(ends.ended[row]), float(means[0][row]), invalid))
    return found


class _Window:
    """The network over the last part of the tokens, with its cache."""

    def __init__(self, stage: SymbolicLmStage, move: int | None, cached: bool) -> None:
        self.network, self.context = stage.network, stage.shape["context"]
        self.move = move or max(self.context // 4, 1)
        self.cached, self.cache, self.start, self.read = cached, None, -1, 0

    def logits(self, tokens: Tensor, position: int) -> Tensor:
        """Logits [B, V] of the token at a position, all before it given."""
        start = window_start(position, self.context, self.move)
        if not self.cached:
            return families.next_logits(self.network, tokens[:, start:position])
        if start != self.start:
            self.start, self.read = start, start
            self.cache = families.open_cache(self.network, len(tokens), self.context)
        begin = self.read if self.cache is not None else start
        self.read = position
        return families.next_logits(self.network, tokens[:, begin:position], self.cache)


class _Chooser:
    """Takes from the logits what may not follow: grammar, repetition, what is never drawn."""

    def __init__(
        self,
        tokens: Tensor,
        first: int,
        sampling: SymbolicSampling,
        rules: Rules,
    ) -> None:
        self.tokens, self.sampling, self.rules = tokens, sampling, rules
        self.never = torch.tensor(list(rules.never), dtype=torch.long, device=tokens.device)
        self.state = self._now = None
        if rules.grammar is not None:
            start = rules.state
            self.state = rules.grammar.start(len(tokens), tokens.device) if start is None else start
            for position in range(first):
                self.state = rules.grammar.advance(self.state, tokens[:, position])
        self.seen: Tensor | None = None
        self.first = first

    def allowed(self) -> Tensor | None:
        """What the grammar allows now, bool [B, V]; looked up once a step."""
        if self.state is None:
            return None
        if self._now is None:
            self._now = self.rules.grammar.allowed(self.state)
        return self._now

    def masked(self, logits: Tensor, position: int) -> Tensor:
        """Logits as they are drawn from."""
        logits = self._penalised(logits, position)
        if len(self.never):
            logits = logits.index_fill(1, self.never, -torch.inf)
        if self.rules.constrain and (allowed := self.allowed()) is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        if self.sampling.no_repeat_ngram is not None:
            banned = self._repeats(position, self.sampling.no_repeat_ngram, logits)
            left = logits.masked_fill(banned, -torch.inf)
            nothing = torch.isinf(left).all(-1, keepdim=True)  # then a repeat is the lesser evil
            logits = torch.where(nothing, logits, left)
        return logits

    def advance(self, new: Tensor) -> None:
        """Take note of what was drawn."""
        if self.state is not None:
            self.state, self._now = self.rules.grammar.advance(self.state, new), None
        if self.seen is not None:
            self.seen.scatter_(1, new[:, None], value=True)

    def _penalised(self, logits: Tensor, position: int) -> Tensor:
        """As transformers do: positive scores divided, negative ones multiplied."""
        penalty = self.sampling.repetition_penalty
        if penalty == 1:
            return logits
        if self.seen is None:
            self.seen = torch.zeros_like(logits, dtype=torch.bool)
            self.seen.scatter_(1, self.tokens[:, :position], value=True)
        less = torch.where(logits < 0, logits * penalty, logits / penalty)
        return torch.where(self.seen, less, logits)

    def _repeats(self, position: int, size: int, logits: Tensor) -> Tensor:
        """Ids that would complete a sequence of `size` tokens that was there before."""
        banned = torch.zeros_like(logits, dtype=torch.bool)
        if position < size:
            return banned
        before = self.tokens[:, :position].unfold(1, size, 1)  # [B, n, size]
        tail = self.tokens[:, position - size + 1 : position] if size > 1 else None
        same = torch.ones(before.shape[:2], dtype=torch.bool, device=before.device)
        if tail is not None:
            same = (before[:, :, :-1] == tail[:, None]).all(-1)
        rows, places = same.nonzero(as_tuple=True)
        banned[rows, before[rows, places, -1]] = True
        return banned


def continue_tokens(
    stage: SymbolicLmStage, prefixes: Sequence[Sequence[int]], count: int
) -> list[list[int]]:
    """The likeliest continuation of each prefix (greedy), `count` ids: for prefix extraction.

    Nothing is forbidden and no grammar helps: what is asked is what the network knows by heart.
    A piece's end ends it.
    """
    streams = ClipStreams([0] * len(prefixes), stage.device)
    greedy = SymbolicSampling(temperature=0, grammar=False)
    drawn = sample(stage, prefixes, count, streams, greedy, measure=False)
    return [clip.ids for clip in drawn]
