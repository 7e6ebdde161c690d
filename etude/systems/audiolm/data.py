"""Segments of audio tokens as batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from etude.systems.base import Batch

VERSION = 1  # raised when steps see other tokens


class PackedData:
    """One split of a packed token set (rules/tokens.smk), read from disk as it is asked for.

    Args:
        folder: a split's folder as written by `datasets.Dataset.save_to_disk`.
        quantizers: rows of each item's acoustic codes.
        items: use at most this many, the first.
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
