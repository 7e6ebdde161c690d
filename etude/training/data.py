"""Which items a step sees is a function of (seed, step) alone.

So a resumed run sees what an uninterrupted one would have seen, without replaying anything.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from etude.systems.base import Batch, Data

VERSION = 1  # raised when steps see other items


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

    With several processes, each takes its `part` of the same batch.
    """
    places = np.random.default_rng([seed, step, 1]).random(batch_size)
    indices = step_indices(len(data), batch_size, step, seed)
    return data.batch(indices[part::parts], places[part::parts])


def validation_batches(
    data: Data, batch_size: int, limit: int, part: int = 0, parts: int = 1
) -> Iterator[Batch]:
    """The whole split, or `limit` items spread evenly over it; the same ones every time.

    With several processes, each takes every `parts`-th batch.
    """
    count = min(len(data), limit)
    chosen = np.linspace(0, len(data) - 1, count).round().astype(int).tolist() if count else []
    places = np.linspace(0, 1, count, endpoint=False)
    for start in range(part * batch_size, count, parts * batch_size):
        yield data.batch(chosen[start : start + batch_size], places[start : start + batch_size])
