"""K-means, nearest entries and a fair sample of frames, in torch.

Lloyd's algorithm is forty lines here, rather than faiss: faiss brings an OpenMP library of its
own, which crashes beside torch's on macOS (faiss-wheels issue 73), and gives no better codebooks.
Equal input, seed and thread count give equal bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def kmeans(frames: Tensor, clusters: int, iterations: int, seed: int) -> Tensor:
    """Lloyd's algorithm from a random choice of frames.

    Entries that no frame belongs to are moved onto the frames worst represented. With fewer
    frames than clusters each frame is an entry.

    Args:
        frames: float32 [frames, dim].

    Returns:
        float32 [min(clusters, frames), dim].

    Example:
        >>> import torch
        >>> frames = torch.tensor([[0.0], [0.2], [5.0], [5.2]])
        >>> entries = kmeans(frames, clusters=2, iterations=5, seed=0)
        >>> sorted(round(x, 1) for x in entries.flatten().tolist())
        [0.1, 5.1]
    """
    generator = torch.Generator().manual_seed(seed)
    entries = frames[torch.randperm(len(frames), generator=generator)[:clusters]].clone()
    for _ in range(iterations):
        labels, distances = nearest(frames, entries)
        counts = torch.bincount(labels, minlength=len(entries))
        sums = torch.zeros_like(entries).index_add_(0, labels, frames)
        entries = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero().flatten()
        entries[empty] = frames[distances.topk(len(empty)).indices]
    return entries


def nearest(frames: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest entry and squared distance to it, both [frames].

    Example:
        >>> import torch
        >>> labels, distances = nearest(torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [4.0]]))
        >>> labels.tolist(), distances.tolist()
        ([0, 1], [1.0, 0.0])
    """
    scores = torch.addmm(entries.square().sum(1), frames, entries.T, alpha=-2)
    distances, labels = scores.min(dim=1)
    return labels, distances + frames.square().sum(1)


def sample_frames(
    batches: Iterable[Tensor], features: Callable[[Tensor], Tensor], limit: int, seed: int
) -> Tensor:
    """At most `limit` frames in random order, all equally likely, in one pass and flat memory.

    Every frame draws a random key and the smallest keys stay, so that nobody needs to know how
    many frames there are.

    Args:
        batches: waves [batch, samples].
        features: maps a batch to [batch, frames, dim].

    Returns:
        float32 [frames, dim].

    Example:
        >>> import torch
        >>> batches = [torch.arange(6.0).reshape(2, 3), torch.arange(6.0, 12.0).reshape(2, 3)]
        >>> frames = sample_frames(batches, lambda wave: wave[..., None], limit=4, seed=0)
        >>> frames.shape
        torch.Size([4, 1])
    """
    generator = torch.Generator().manual_seed(seed)
    frames: list[Tensor] = []
    keys: list[Tensor] = []
    for batch in batches:
        frames.append(features(batch).flatten(0, 1))
        keys.append(torch.rand(len(frames[-1]), generator=generator, dtype=torch.float64))
        if sum(map(len, keys)) > 2 * limit:
            frames, keys = _smallest(frames, keys, limit)
    if not frames:
        raise ValueError("there is no audio to fit on")
    return _smallest(frames, keys, limit)[0][0]


def _smallest(
    frames: list[Tensor], keys: list[Tensor], limit: int
) -> tuple[list[Tensor], list[Tensor]]:
    key = torch.cat(keys)
    order = key.argsort()[:limit]
    return [torch.cat(frames)[order]], [key[order]]
