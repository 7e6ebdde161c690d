"""Packed data as batches: which items a step sees is a function of (seed, step) alone.

So a resumed run sees what an unbroken one would have seen, without replaying anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

VERSION = 1  # raised when steps see other items

Batch = dict[str, Tensor]


class Data(Protocol):
    """Items that can be asked for by number."""

    def __len__(self) -> int: ...

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """Tensors of these items; `places` has a random number in [0, 1) for each."""


class PackedData:
    """One split of a packed token set (rules/tokens.smk), read from disk as it is asked for.

    Args:
        folder: a split's folder as written by `datasets.Dataset.save_to_disk`.
        quantizers: rows of each item's acoustic codes.
        items: use the first so many only.
    """

    def __init__(self, folder: Path, quantizers: int, items: int | None = None) -> None:
        import datasets

        self.quantizers = quantizers
        dataset = datasets.load_from_disk(str(folder))
        self._size = min(len(dataset), items or len(dataset))
        self._dataset = dataset.with_format("numpy", columns=["semantic", "acoustic", "last"])

    def __len__(self) -> int:
        return self._size

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """semantic [B, T], acoustic [B, quantizers, frames], last [B], place [B] in [0, 1)."""
        rows = self._dataset[indices]
        acoustic = torch.from_numpy(np.stack(rows["acoustic"]).astype(np.int64))
        places = np.zeros(len(indices)) if places is None else places
        return {
            "semantic": torch.from_numpy(np.stack(rows["semantic"]).astype(np.int64)),
            "acoustic": acoustic.view(len(indices), self.quantizers, -1),
            "last": torch.from_numpy(np.asarray(rows["last"])),
            "place": torch.from_numpy(places),
        }


def step_indices(items: int, batch_size: int, step: int, seed: int) -> list[int]:
    """The items of one batch: epochs are permutations, batches run across their borders."""
    indices: list[int] = []
    position = step * batch_size
    while len(indices) < batch_size:
        epoch, start = divmod(position, items)
        order = np.random.default_rng([seed, epoch]).permutation(items)
        taken = order[start : start + batch_size - len(indices)]
        indices += taken.tolist()
        position += len(taken)
    return indices


def training_batch(
    data: Data, batch_size: int, step: int, seed: int, part: int = 0, parts: int = 1
) -> Batch:
    """The batch of a step, with the random places that models may use to choose windows.

    Of several processes each takes its `part` of the same batch.
    """
    places = np.random.default_rng([seed, step, 1]).random(batch_size)
    indices = step_indices(len(data), batch_size, step, seed)
    return data.batch(indices[part::parts], places[part::parts])


def validation_batches(
    data: Data, batch_size: int, limit: int, part: int = 0, parts: int = 1
) -> Iterator[Batch]:
    """The whole split, or `limit` items spread evenly over it; the same ones every time.

    Of several processes each takes every `parts`-th batch.
    """
    count = min(len(data), limit)
    chosen = np.linspace(0, len(data) - 1, count).round().astype(int).tolist() if count else []
    places = np.linspace(0, 1, count, endpoint=False)
    for start in range(part * batch_size, count, parts * batch_size):
        yield data.batch(chosen[start : start + batch_size], places[start : start + batch_size])
