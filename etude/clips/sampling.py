"""Drawing tokens and noise: temperature, top-k, top-p, and one random stream per clip.

Each clip has its own stream of uniform numbers and each token is found by inverting the
cumulative distribution, so a clip does not depend on which clips share its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from etude.config import Sampling

VERSION = 1  # raised when the same seeds draw other tokens


class ClipStreams:
    """One seeded stream of uniform numbers per clip of a batch."""

    def __init__(self, seeds: list[int], device: torch.device | str = "cpu") -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = device

    def uniform(self, count: int) -> Tensor:
        """The next `count` numbers of every stream, float64 [clips, count]."""
        draws = [torch.rand(count, generator=g, dtype=torch.float64) for g in self.generators]
        return torch.stack(draws).to(self.device)

    def normal(self, lengths: Sequence[int], *shape: int) -> Tensor:
        """Standard normal numbers, float32 [clips, longest, *shape], 0 after a clip's length.

        Each clip's are drawn at its own length, so that the others' lengths change nothing.
        """
        draws = [
            torch.randn(length, *shape, generator=stream)
            for length, stream in zip(lengths, self.generators, strict=True)
        ]
        return pad_sequence(draws, batch_first=True).to(self.device)


def clip_seed(seed: int, clip: int) -> int:
    """The seed of one clip, far from those of its neighbours and of other draws.

    Example:
        >>> clip_seed(0, 1) == clip_seed(0, 1), clip_seed(0, 1) == clip_seed(1, 0)
        (True, False)
    """
    state = torch.Generator().manual_seed(seed * 1_000_003 + clip)
    return int(torch.randint(2**62, (1,), generator=state))


def draw(logits: Tensor, uniform: Tensor, settings: Sampling) -> Tensor:
    """One id per row: logits [B, V], uniform [B] in [0, 1) -> long [B].

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 5.0, 1.0]])
        >>> draw(logits, torch.tensor([0.99]), Sampling(temperature=0)).tolist()  # greedy
        [1]
        >>> draw(logits, torch.tensor([0.999]), Sampling(top_k=2)).tolist()
        [2]
    """
    if settings.temperature == 0:
        return logits.argmax(-1)
    logits = logits.double() / settings.temperature
    if settings.top_k is not None and settings.top_k < logits.shape[-1]:
        smallest = logits.topk(settings.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if (share := getattr(settings, "top_share", None)) is not None and share < 1:
        smallest = logits.topk(max(int(share * logits.shape[-1]), 1)).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    probabilities = logits.softmax(-1)
    if settings.top_p is not None:
        probabilities = _nucleus(probabilities, settings.top_p)
    if (least := getattr(settings, "min_p", None)) is not None:  # of symbolic models only
        low = probabilities < least * probabilities.amax(-1, keepdim=True)
        probabilities = probabilities.masked_fill(low, 0.0)
    cumulative = probabilities.cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    # `right` so that a draw of exactly 0 cannot choose an id of probability 0.
    index = torch.searchsorted(cumulative, target, right=True)[:, 0]
    return index.clamp(max=logits.shape[-1] - 1)


def _nucleus(probabilities: Tensor, mass: float) -> Tensor:
    """Keep the likeliest ids up to and including the one that reaches `mass`."""
    ordered, order = probabilities.sort(-1, descending=True)
    beyond = ordered.cumsum(-1) - ordered >= mass
    return probabilities.scatter(-1, order, ordered.masked_fill(beyond, 0.0))
