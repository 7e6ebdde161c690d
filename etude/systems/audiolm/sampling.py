"""AudioLM's sampling: windows that continue each other in token space, decoded as one stream.

Window w covers the seconds [w * hop, w * hop + window). Each window's first part is what the
window before has said of the same moments; only the rest is sampled. Nothing is re-encoded and
nothing is cross-faded, since the tokens of all windows make one sequence.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from etude.clips.progress import GenerationProgress, Tell, silent
from etude.clips.sampling import ClipStreams, draw
from etude.config import Sampling
from etude.systems.audiolm.networks import can_cache
from etude.systems.audiolm.stages import (
    AudioLmStage,
    CoarseStage,
    FineStage,
    SemanticStage,
    flatten_frames,
    unflatten_frames,
)

VERSION = 2  # raised when the same seeds give other tokens
UNKNOWN = -1  # a place of `known` that is to be drawn


@dataclass
class Tokens:
    """What was sampled: semantic [B, T'], acoustic [B, Q, frames], frames of each clip [B]."""

    semantic: Tensor
    acoustic: Tensor
    frames: list[int]
    ended: list[bool]


class _TokenMeter:
    """Counts sampled tokens and tells how far all is."""

    def __init__(self, total: int, seconds: float, tell: Tell):
        self.total, self.seconds, self.tell = max(total, 1), seconds, tell
        self.done, self.began = 0, time.perf_counter()

    def step(self, stage: str) -> None:
        self.done = min(self.done + 1, self.total)
        share = self.done / self.total
        eta = (time.perf_counter() - self.began) * (1 - share) / share
        self.tell(GenerationProgress(stage, 100 * share, self.seconds * share, eta))


@torch.inference_mode()
def continue_sequence(
    stage: AudioLmStage,
    given: Tensor,
    count: int,
    streams: ClipStreams,
    sampling: Sampling,
    *,
    forbidden: Sequence[int] = (),
    known: Tensor | None = None,
    on_token: Callable[[], None] = lambda: None,
    cached: bool = True,
) -> Tensor:
    """Sample `count` more tokens after `given` [B, P] in a stage's layout -> long [B, count].

    Args:
        forbidden: ids that are never drawn.
        known: [B, count], ids that stand already, UNKNOWN where one is to be drawn. Clips of
            one batch may so begin with contexts of different length.
        cached: use the key/value cache where the network has one; without it every step runs over
            the whole sequence.
    """
    layout, model = stage.full_layout, stage.transformer
    uniform = streams.uniform(count)
    cached = cached and can_cache(model)
    cache = model.cache(len(given), given.shape[1] + count) if cached else None
    tokens, new = given, given
    for index in range(count):
        start = tokens.shape[1] - new.shape[1] if cached else 0
        part = new if cached else tokens, layout[start : tokens.shape[1]]
        hidden = model(*part, cache) if cached else model(*part)
        codebook = stage.targets[tokens.shape[1] - 1]
        logits = model.logits(hidden[:, -1], codebook)
        if forbidden:
            logits[:, list(forbidden)] = -torch.inf
        new = draw(logits, uniform[:, index], sampling)[:, None]
        if known is not None:
            here = known[:, index : index + 1]
            new = torch.where(here == UNKNOWN, new, here)
        tokens = torch.cat([tokens, new], dim=1)
        on_token()
    return tokens[:, given.shape[1] :]


class AudioLmGenerator:
    """The three trained stages as one generator of acoustic tokens."""

    def __init__(self, semantic: SemanticStage, coarse: CoarseStage, fine: FineStage) -> None:
        self.semantic, self.coarse, self.fine = semantic, coarse, fine
        self.shape = semantic.shape | coarse.shape | fine.shape
        self.window_seconds: float = self.shape["window_seconds"]
        self.ends = self.shape["end_of_sequence"] != "none"

    def windows(self, seconds: float, hop: float | None) -> list[float]:
        """Start of each window in seconds; the first is at 0, together they cover `seconds`."""
        window = self.window_seconds
        hop = min(hop or window / 2, window)
        more = max(math.ceil((seconds - window) / hop - 1e-9), 0)
        return [k * hop for k in range(more + 1)]

    @torch.inference_mode()
    def generate(
        self,
        seconds: float,
        seeds: list[int],
        sampling: Sampling,
        hop: float | None = None,
        prime: Tokens | None = None,
        progress: Tell = silent,
        *,
        whole_length: bool = False,
    ) -> Tokens:
        """Sample one clip per seed.

        Args:
            seconds: length of each clip, the prime included.
            prime: tokens [1 or B, ...] that every clip begins with.
            whole_length: no clip ends early.
        """
        self.ends = not whole_length and self.shape["end_of_sequence"] != "none"
        starts = self.windows(seconds, hop)
        streams = ClipStreams(seeds, self.semantic.device)
        meter = _TokenMeter(self._count(starts, prime), seconds, progress)
        semantic, generated, ended = self._semantic(starts, streams, sampling, prime, meter)
        coarse = self._coarse(starts, semantic, streams, sampling, prime, meter)
        acoustic = self._fine(coarse, streams, sampling, prime, meter)
        limit = whole_frames(seconds, self.shape["acoustic_rate"])
        frames = [min(limit, acoustic.shape[2] if end is None else end) for end in ended]
        return Tokens(generated, acoustic[:, :, :limit], frames, [e is not None for e in ended])

    # ------------------------------------------------------------------ the three stages

    def _semantic(
        self,
        starts: list[float],
        streams: ClipStreams,
        sampling: Sampling,
        prime: Tokens | None,
        meter: _TokenMeter,
    ) -> tuple[list[Tensor], Tensor, list[int | None]]:
        """Ids of each window [B, frames], ids of the whole, acoustic frame at which clips end."""
        batch, frames = len(streams.generators), self.shape["semantic_frames"]
        ends: list[int | None] = [None] * batch
        windows: list[Tensor] = []
        generated = []
        for index, start in enumerate(starts):
            context = self._context(windows, starts[:index], start, prime, batch)
            sampled = self._window(context, streams, sampling, lambda: meter.step("semantic"))
            over = self._is_over(sampled, streams, sampling)
            at = whole_frames(start + self.window_seconds, self.shape["acoustic_rate"])
            ends = [at if e is None and o else e for e, o in zip(ends, over, strict=True)]
            windows.append(sampled)
            generated.append(sampled[:, (len(context[0]) if index else 0) :][:, :frames])
        return windows, torch.cat(generated, dim=1), ends

    def _context(
        self,
        windows: list[Tensor],
        before: list[float],
        start: float,
        prime: Tokens | None,
        batch: int,
    ) -> list[Tensor]:
        """What each clip's next window begins with: ids that an earlier one, or the prime, said."""
        stage = self.semantic
        if not windows:
            if prime is None:
                return [torch.zeros(0, dtype=torch.long, device=stage.device)] * batch
            rows = list(_repeat(prime.semantic, batch).to(stage.device))
            merged = self.shape["deduplicate_semantic"]
            return [torch.unique_consecutive(row) if merged else row for row in rows]
        if not self.shape["deduplicate_semantic"]:
            rate = self.shape["semantic_rate"]
            return list(windows[-1][:, round(start * rate) - round(before[-1] * rate) :])
        # Merged ids have no times: the share of them that both windows cover goes on.
        share = 1 - (start - before[-1]) / self.window_seconds
        rows = [row[row < stage.vocabulary] for row in windows[-1]]
        return [row[len(row) - round(share * len(row)) :] for row in rows]

    def _window(
        self,
        context: list[Tensor],
        streams: ClipStreams,
        sampling: Sampling,
        on_token: Callable[[], None],
    ) -> Tensor:
        """Ids of one window [B, frames]; after a merged window's end comes `segment_end`."""
        stage, frames = self.semantic, self.shape["semantic_frames"]
        begin = torch.zeros((len(context), 1), dtype=torch.long, device=stage.device)
        if not self.shape["deduplicate_semantic"]:
            given = torch.stack(context)
            sampled = continue_sequence(
                stage, torch.cat([begin, given], 1), frames - given.shape[1], streams, sampling,
                forbidden=[stage.end, stage.segment_end], on_token=on_token,
            )  # fmt: skip
            return torch.cat([given, sampled], dim=1)
        known = torch.full((len(context), frames), UNKNOWN, device=stage.device)
        for row, ids in zip(known, context, strict=True):
            row[: len(ids)] = ids
        never = [] if self.ends else [stage.end]
        ids = continue_sequence(
            stage, begin, frames, streams, sampling,
            forbidden=never, known=known, on_token=on_token,
        )  # fmt: skip
        ends = (ids >= stage.vocabulary).long()
        behind = (ends.cumsum(1) - ends) > 0
        return ids.masked_fill(behind, stage.segment_end)

    def _is_over(self, ids: Tensor, streams: ClipStreams, sampling: Sampling) -> list[bool]:
        """Whether each piece ends with its window [B, frames]."""
        stage = self.semantic
        if not self.ends:
            return [False] * len(ids)
        ended = (ids == stage.end).any(1)
        ids.masked_fill_(ids == stage.end, stage.segment_end)  # said; not for the coarse stage
        whole = ids[:, -1] < stage.vocabulary  # full windows say it after their last id
        begin = torch.zeros((len(ids), 1), dtype=torch.long, device=stage.device)
        verdict = continue_sequence(
            stage, torch.cat([begin, ids], 1), 1, streams, sampling,
            forbidden=range(stage.vocabulary),
        )  # fmt: skip
        return (ended | (whole & (verdict[:, 0] == stage.end))).tolist()

    def _coarse(
        self,
        starts: list[float],
        semantic: list[Tensor],
        streams: ClipStreams,
        sampling: Sampling,
        prime: Tokens | None,
        meter: _TokenMeter,
    ) -> Tensor:
        """Coarse codes of the whole clip [B, Q', frames]."""
        stage, quantizers = self.coarse, self.shape["coarse_quantizers"]
        batch, rate = len(streams.generators), self.shape["acoustic_rate"]
        codes = torch.zeros((batch, quantizers, 0), dtype=torch.long, device=stage.device)
        if prime is not None:
            codes = _repeat(prime.acoustic[:, :quantizers], batch).to(stage.device)
        for start, ids in zip(starts, semantic, strict=True):
            known = codes[:, :, whole_frames(start, rate) :]
            missing = self.shape["acoustic_frames"] - known.shape[2]
            given = torch.cat([stage.prefix(ids), flatten_frames(known)], dim=1)
            sampled = continue_sequence(
                stage, given, missing * quantizers, streams, sampling,
                on_token=lambda: meter.step("coarse"),
            )  # fmt: skip
            codes = torch.cat([codes, unflatten_frames(sampled, quantizers)], dim=2)
        return codes

    def _fine(
        self,
        coarse: Tensor,
        streams: ClipStreams,
        sampling: Sampling,
        prime: Tokens | None,
        meter: _TokenMeter,
    ) -> Tensor:
        """All codes [B, Q, frames]; windows of the fine stage stand side by side."""
        stage, first = self.fine, self.shape["coarse_quantizers"]
        quantizers = self.shape["quantizers"] - first
        batch, total = coarse.shape[0], coarse.shape[2]
        fine = torch.zeros((batch, quantizers, 0), dtype=torch.long, device=stage.device)
        if prime is not None:
            fine = _repeat(prime.acoustic[:, first:], batch).to(stage.device)
        while fine.shape[2] < total:
            # The last window lies back, so that it is whole and sees what was said before.
            start = min(fine.shape[2], total - stage.frames)
            known = flatten_frames(fine[:, :, start:])
            given = stage.prefix(coarse[:, :, start : start + stage.frames])
            given = torch.cat([given, known], dim=1)
            count = stage.frames * quantizers - known.shape[1]
            sampled = continue_sequence(
                stage, given, count, streams, sampling, on_token=lambda: meter.step("fine")
            )
            fine = torch.cat([fine, unflatten_frames(sampled, quantizers)], dim=2)
        return torch.cat([coarse, fine], dim=1)

    def _count(self, starts: list[float], prime: Tokens | None) -> int:
        """Steps of the whole generation, for the progress."""
        shape, moved = self.shape, starts[1] - starts[0] if len(starts) > 1 else 0.0
        seconds = self.window_seconds + moved * (len(starts) - 1)
        if prime is not None:
            seconds -= prime.acoustic.shape[2] / shape["acoustic_rate"]
        acoustic = seconds * shape["acoustic_rate"] * shape["quantizers"]
        return int(seconds * shape["semantic_rate"] + acoustic)


def whole_frames(seconds: float, rate: float) -> int:
    """Frames that cover a time, a last part of one counted whole."""
    return math.ceil(seconds * rate - 1e-6)


def _repeat(tokens: Tensor, batch: int) -> Tensor:
    return tokens if len(tokens) == batch else tokens.repeat(batch, *[1] * (tokens.dim() - 1))
