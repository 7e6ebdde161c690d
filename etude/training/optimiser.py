"""AdamW and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from etude.config import Training


def build_optimiser(model: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW without weight decay on norms, biases and embeddings (nor on what is tied to one)."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen:
                continue
            seen.add(parameter)
            (decayed if name == "weight" and _is_linear(module) else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def _is_linear(module: nn.Module) -> bool:
    """Also transformers' Conv1D, which is a linear layer by its transposed weight."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def learning_rate(step: int, settings: Training) -> float:
    """Warm-up, then constant, or a line or a cosine down to `final_ratio` of the peak."""
    peak, warmup = settings.learning_rate, settings.warmup_steps
    if settings.schedule == "one_cycle":
        return _one_cycle(step, settings)
    if step < warmup:
        return peak * (step + 1) / warmup
    if settings.schedule == "constant":
        return peak
    done = (step - warmup) / max(settings.steps - warmup, 1)
    left = 1 - done if settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return peak * (settings.final_ratio + (1 - settings.final_ratio) * left)


def _one_cycle(step: int, settings: Training) -> float:
    """As torch's OneCycleLR with cosines: from peak / 25 up, then down, each over its steps."""
    peak, top = settings.learning_rate, max(settings.warmup_steps - 1, 1)
    if step < top:
        return _between(peak / 25, peak, step / top)
    span = max(settings.steps - 1 - top, 1)
    return _between(peak, peak * settings.final_ratio, min((step - top) / span, 1.0))


def _between(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * share))
