"""MusicGen's sampling: all quantizers of a position at once, window by window.

Logits are guided as in the original: null + guidance * (with text - null). The key/value cache
holds both halves; places of the sequence that are known (the pad of the delay, codes of an earlier
window) are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from etude.clips.sampling import ClipStreams, draw
from etude.config import Sampling
from etude.systems.musicgen.network import Lm, delayed, undelayed

VERSION = 1  # raised when the same seeds give other codes

UNKNOWN = -1  # a place that is to be drawn


@torch.inference_mode()
def sample(
    model: Lm,
    rows: Tensor,
    mask: Tensor,
    frames: int,
    streams: ClipStreams,
    settings: Sampling,
    *,
    guidance: float = 1.0,
    window: int | None = None,
    hop: int | None = None,
    cached: bool = True,
    melody: Tensor | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Codes of one clip per text -> long [B, K, frames].

    Args:
        rows, mask: of texts, as `Lm.rows` gives them.
        window: frames that are sampled at once; none: all.
        hop: frames that a window moves on; none: half of it.
        cached: use a key/value cache; without it every step runs over the whole window.
        melody: [B, T, chroma], of networks that follow one; each window begins with it again.
        on_step: called at each position.
    """
    states = model.encode(rows, mask, melody)
    if guidance != 1:
        states = torch.cat([states, model.without_text(states)])
        mask = torch.cat([mask, torch.zeros_like(mask)])
    codes = torch.zeros(len(rows), model.quantizers, 0, dtype=torch.long, device=model.device)
    for begin, length in windows(frames, window, hop):
        known = codes[:, :, begin:]
        new = _window(
            *(model, states, mask, known, length, streams, settings, guidance, cached, on_step)
        )
        codes = torch.cat([codes[:, :, :begin], new], dim=2)
    return codes


def windows(frames: int, window: int | None, hop: int | None) -> list[tuple[int, int]]:
    """Begin and length of each window, in frames; together they cover all, the last is whole."""
    if window is None or frames <= window:
        return [(0, frames)]
    hop = min(hop or math.ceil(window / 2), window)
    more = math.ceil((frames - window) / hop)
    return [(min(k * hop, frames - window), window) for k in range(more + 1)]


def steps_of(frames: int, window: int | None, hop: int | None, quantizers: int) -> int:
    """Positions that are run through, for the progress."""
    made, total = 0, 0
    for begin, length in windows(frames, window, hop):
        total += begin + length - made + quantizers - 1
        made = begin + length
    return total


def _window(
    model: Lm,
    states: Tensor,
    mask: Tensor,
    known: Tensor,
    frames: int,
    streams: ClipStreams,
    settings: Sampling,
    guidance: float,
    cached: bool,
    on_step: Callable[[], None],
) -> Tensor:
    """One window: its first codes are known [B, K, P], the others are drawn -> [B, K, frames]."""
    quantizers, first = model.quantizers, known.shape[2]
    blank = known.new_full((len(known), quantizers, frames - first), UNKNOWN)
    moved = delayed(torch.cat([known, blank], dim=2), model.pad)
    cache = new_cache() if cached else None
    seen, halves = 0, len(states) // len(known)
    for position in range(first + 1, moved.shape[2]):
        begin = seen if cached else 0
        part = moved[:, :, begin:position].repeat(halves, 1, 1)
        logits = model.logits(part, states, mask, cache)[:, :, -1].float()
        seen = position
        if guidance != 1:
            conditional, null = logits.chunk(2)
            logits = null + guidance * (conditional - null)
        chance = streams.uniform(quantizers)
        for q in range(quantizers):
            here = moved[:, q, position]
            drawn = draw(logits[:, q], chance[:, q], settings)
            moved[:, q, position] = torch.where(here == UNKNOWN, drawn, here)
        on_step()
    return undelayed(moved)


def new_cache() -> object:
    """Keys and values of the codes so far, and of the text (made once)."""
    from transformers import DynamicCache, EncoderDecoderCache

    return EncoderDecoderCache(DynamicCache(), DynamicCache())
