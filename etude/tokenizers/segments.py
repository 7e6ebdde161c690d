"""Segments as tokenizers read them: batches of waves at the tokenizer's rate."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from etude.audio.choice import Segment
from etude.audio.cuts import read_segments
from etude.config import Cut
from etude.errors import UserError
from etude.tokenizers.base import Tokenizer

BATCH_SECONDS = 128  # of audio in a batch: 64 segments of two seconds, 12 MB at 24 kHz


def check_cut(cut: Cut, tokenizer: Tokenizer, name: str) -> int:
    """Frames per segment of a cut.

    Raises:
        UserError: if the tokenizer reads at a higher rate than the cut keeps, or if a segment is
            shorter than a frame.
    """
    if tokenizer.sample_rate > cut.rate:
        raise UserError(
            f"the tokenizer reads at {tokenizer.sample_rate} Hz, its cut is at {cut.rate} Hz",
            where=name,
            why="the cut takes pieces down to its own rate, and audio is never converted upwards",
            do=f"set the cut's rate to {tokenizer.sample_rate} or the tokenizer's sample_rate "
            f"to {cut.rate}",
        )
    frames = tokenizer.frames(round(cut.seconds * tokenizer.sample_rate))
    if frames < 1:
        raise UserError(
            f"a segment of {cut.seconds:g} s is shorter than a frame of the tokenizer",
            where=name,
            do="cut longer segments or set a smaller hop",
        )
    return frames


def batched(segments: Iterable[Segment], seconds: float) -> Iterator[list[Segment]]:
    """Segments of this many seconds each, as many at a time as a batch takes.

    Example:
        >>> [len(batch) for batch in batched([None] * 3, seconds=BATCH_SECONDS / 2)]
        [2, 1]
    """
    size = max(1, int(BATCH_SECONDS / seconds))
    iterator = iter(segments)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def read_batch(batch: Sequence[Segment], rate: int) -> Tensor:
    """Waves of a batch: float32 [segments, samples]."""
    groups = itertools.groupby(batch, key=lambda segment: segment[0])
    waves = [read_segments(wav, [row for _, row in group], rate) for wav, group in groups]
    return torch.cat([torch.from_numpy(wave) for wave in waves])
