"""AdamW and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from etude.config import Training


def build_optimiser(model: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW without weight decay on norms, biases and embeddings."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            linear_weight = isinstance(module, nn.Linear) and name == "weight"
            (decayed if linear_weight else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def learning_rate(step: int, settings: Training) -> float:
    """Linear warm-up, then constant or a cosine down to `final_ratio` of the peak."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.learning_rate
    span = max(settings.steps - settings.warmup_steps, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * (step - settings.warmup_steps) / span))
    return settings.learning_rate * (settings.final_ratio + (1 - settings.final_ratio) * cosine)
