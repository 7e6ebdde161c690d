"""Packed pieces as bars and phrases, and phrases and bars as training batches.

Phrases of like length share a batch: they are sorted by length, and a batch is drawn from a stretch
of STRETCH phrases around its first one, so that little of it is padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.systems.base import Batch
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.remi_z_vocabulary import Bar

VERSION = 1  # raised when steps see other tokens, or pieces are read otherwise

STRETCH = 512  # phrases
Ids = NDArray[np.int32]


@dataclass
class Song:
    """A piece: its name, and its bars with all slots."""

    piece: str
    bars: list[Bar]

    @property
    def phrases(self) -> list[list[list[int]]]:
        """Ids by bar and slot."""
        return [bar.phrases for bar in self.bars]


def read_songs(packed: Path, split: str, tokenizer: RemiZTokenizer) -> list[Song]:
    """The pieces of a split in their order, each as often as it was transposed.

    A piece that is longer than a window of the token set comes in parts.
    """
    import datasets

    rows = datasets.load_from_disk(str(packed / split))
    songs = [
        Song(piece, tokenizer.bars(ids))
        for piece, ids in zip(rows["piece"], rows["input_ids"], strict=True)
    ]
    return [song for song in songs if song.bars]


def phrases_of(songs: Iterable[Song]) -> list[list[int]]:
    """All phrases, empty ones too."""
    return [phrase for song in songs for bar in song.bars for phrase in bar.phrases]


def filled(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Rows of ids, filled up to the longest (at least 1): long [B, T]."""
    ids = np.full((len(rows), max(1, *map(len, rows), 1)), pad, np.int64)
    for row, content in zip(ids, rows, strict=True):
        row[: len(content)] = content
    return torch.from_numpy(ids)


def neighbours(indices: list[int], count: int) -> list[int]:
    """Places of a batch, within a stretch around the first of some random ones.

    Args:
        count: how many places there are.
    """
    size = min(STRETCH, count)
    first = min(max(indices[0] - size // 2, 0), count - size)
    return [first + (index - indices[0]) % size for index in indices]


def as_batch(
    rows: Sequence[Sequence[int]], pad: int, known: frozenset[tuple[int, ...]] | None
) -> Batch:
    """ids and targets [B, T], the same; with phrases that are known also `seen` [B]."""
    ids = filled(rows, pad)
    batch = {"ids": ids, "targets": ids}
    if known is not None:
        batch["seen"] = torch.tensor([tuple(row) in known for row in rows])
    return batch


class Phrases:
    """Phrases as training items, the shortest first.

    Args:
        rows: ids of each.
        known: phrases of the training split: items say whether they are among them.
        items: only this many, the first ones, as they come.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        pad: int,
        *,
        known: frozenset[tuple[int, ...]] | None = None,
        items: int | None = None,
    ) -> None:
        rows = rows[:items]
        # Those of one length in random order, so that a stretch is not of one piece.
        shuffled = np.random.default_rng(0).permutation(len(rows))
        lengths = np.array([len(rows[i]) for i in shuffled], np.int64)
        self.order = shuffled[np.argsort(lengths, kind="stable")]
        self.rows, self.pad, self.known = rows, pad, known

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """ids and targets [B, T], the same; held-out ones with `seen` [B].

        In training, the first index says where in the order the batch is taken from.
        """
        if self.known is None:
            indices = neighbours(indices, len(self))
        return as_batch([self.rows[self.order[i]] for i in indices], self.pad, self.known)


class BarsWithGaps:
    """Bars as one text each, of which stretches are taken out at random.

    As in BART (Lewis et al., arXiv 1910.13461): gaps of Poisson-distributed length, of which each
    leaves one mask token, until the share of tokens is reached.

    Args:
        share, span: of tokens in gaps, and the mean length of a gap.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        tokenizer: RemiZTokenizer,
        share: float,
        span: float,
        items: int | None = None,
    ) -> None:
        self.rows, self.tokenizer = rows[:items], tokenizer
        self.share, self.span = share, span

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """ids [B, S] with gaps, targets [B, T] without; a place decides an item's gaps."""
        if places is None:
            places = np.zeros(len(indices))
        rows = [self.rows[i] for i in indices]
        gaps = [self._with_gaps(row, place) for row, place in zip(rows, places, strict=True)]
        pad = self.tokenizer.pad
        return {"ids": filled(gaps, pad), "targets": filled(rows, pad)}

    def _with_gaps(self, row: Sequence[int], place: float) -> list[int]:
        random = np.random.default_rng(int(place * 2**53))
        gone, begins = np.zeros(len(row), bool), np.zeros(len(row), bool)
        while gone.sum() < self.share * len(row):
            begin = int(random.integers(len(row)))
            end = begin + max(int(random.poisson(self.span)), 1)
            gone[begin:end] = True
            begins[begin] = True
        begins &= np.append(True, ~gone[:-1])  # gaps that touch are one
        mask = self.tokenizer.mask
        return [
            mask if begins[i] else number
            for i, number in enumerate(row)
            if begins[i] or not gone[i]
        ]


def bar_texts(songs: Iterable[Song], tokenizer: RemiZTokenizer) -> list[list[int]]:
    """Each bar of some pieces as the tokenizer writes it."""
    return [tokenizer.join([bar]) for song in songs for bar in song.bars]


def seen_phrases(songs: Iterable[Song]) -> frozenset[tuple[int, ...]]:
    """The phrases of training pieces, each once."""
    return frozenset(tuple(phrase) for phrase in phrases_of(songs))


class BarItems:
    """Phrases as training items, but all slots of a bar together; bars by their longest phrase.

    Args:
        bars: ids by bar and slot.
        known: phrases of the training split: items say whether they are among them.
        items: only this many bars, the first ones.
    """

    def __init__(
        self,
        bars: Sequence[Sequence[Sequence[int]]],
        pad: int,
        *,
        known: frozenset[tuple[int, ...]] | None = None,
        items: int | None = None,
    ) -> None:
        self.bars, self.pad, self.known = bars[:items], pad, known
        shuffled = np.random.default_rng(0).permutation(len(self.bars))
        lengths = np.array([max(map(len, self.bars[i])) for i in shuffled], np.int64)
        self.order = shuffled[np.argsort(lengths, kind="stable")]

    def __len__(self) -> int:
        return len(self.bars)

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """ids and targets [B x slots, T], the same; held-out ones with `seen` [B x slots]."""
        if self.known is None:
            indices = neighbours(indices, len(self))
        rows = [phrase for i in indices for phrase in self.bars[self.order[i]]]
        return as_batch(rows, self.pad, self.known)


def shape_of(tokenizer: RemiZTokenizer) -> dict[str, Any]:
    """The numbers that fix a network of phrases."""
    return {
        "vocabulary": tokenizer.vocabulary,
        "slots": tokenizer.settings.slots,
        **{name: getattr(tokenizer, name) for name in ("pad", "bos", "eos")},
    }
