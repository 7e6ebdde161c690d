"""Classifier-free guidance (Ho and Salimans, arXiv 2207.12598)."""

from __future__ import annotations

from torch import Tensor

from etude.diffusion.solvers import Denoiser

VERSION = 1  # raised when results change


def guided(
    conditioned: Denoiser,
    free: Denoiser,
    scale: float,
    rescale: float = 0.0,
    mask: Tensor | None = None,
) -> Denoiser:
    """A network that follows its conditions more (scale > 1) or less than it was trained to.

    Args:
        conditioned, free: the network with and without what is to be followed.
        scale: 1 is `conditioned` alone, 0 `free` alone.
        rescale: how much of the deviation that guidance adds is taken back, 0 to 1 (Lin et al.,
            arXiv 2305.08891, eq. 15 and 16).
        mask: bool [B, T], where something is; elsewhere counts in no deviation.

    Example:
        >>> import torch
        >>> words = lambda x, time, estimate: x + 1
        >>> none = lambda x, time, estimate: x
        >>> guided(words, none, scale=3.0)(torch.zeros(1, 1), torch.zeros(1), None).tolist()
        [[3.0]]
    """
    if scale == 1:
        return conditioned

    def predict(x: Tensor, time: Tensor, estimate: Tensor | None) -> Tensor:
        wanted = conditioned(x, time, estimate).float()
        plain = free(x, time, estimate).float()
        output = plain + scale * (wanted - plain)
        if rescale:
            share = deviation(wanted, mask) / deviation(output, mask).clamp(min=1e-8)
            output = output * (1 + rescale * (share - 1))
        return output

    return predict


def deviation(values: Tensor, mask: Tensor | None) -> Tensor:
    """Standard deviation of each item of [B, T, ...], as [B, 1, ...].

    Example:
        >>> import torch
        >>> deviation(torch.tensor([[[0.0], [2.0]]]), None).tolist()
        [[[1.0]]]
    """
    flat = values.flatten(2)
    there = flat.new_ones(flat.shape[:2]) if mask is None else mask.to(flat.dtype)
    count = there.sum(1) * flat.shape[2]
    weight = there[..., None]
    mean = (flat * weight).sum((1, 2)) / count
    variance = ((flat - mean[:, None, None]).square() * weight).sum((1, 2)) / count
    return variance.sqrt().view(-1, *[1] * (values.ndim - 1))
