"""The optimiser of a stage, AdamW or Muon beside it, and the learning rates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from etude.config import TrainingSettings
from etude.errors import UserError
from etude.training.muon import Muon, is_linear, matrices


class MuonAndAdamW:
    """Muon on the matrices of a network, AdamW on the rest, as one optimiser."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW) -> None:
        self.muon, self.adamw = muon, adamw

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)

    def step(self) -> None:
        """Move all weights."""
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def build_optimiser(
    model: nn.Module, settings: TrainingSettings
) -> torch.optim.AdamW | MuonAndAdamW:
    """The optimiser that the settings name.

    AdamW has no weight decay on norms, biases and embeddings (nor on weights tied to one).

    Raises:
        UserError: Muon is asked for, and the network has no matrix for it.
    """
    if settings.optimizer == "adamw":
        return _adamw(model, settings, set())
    found = matrices(model)
    if not found:
        raise UserError(
            "Muon has nothing to train in this network",
            code="nothing-for-muon",
            where="training.optimizer",
            why="it trains the 2-D weights of linear and recurrent layers that are no heads",
            do="set `optimizer: adamw` for this stage",
        )
    rates = learning_rates(0, settings)
    muon = Muon(found, rates["muon_learning_rate"], settings.weight_decay)
    return MuonAndAdamW(muon, _adamw(model, settings, {matrix.weight for matrix in found}))


def _adamw(
    model: nn.Module, settings: TrainingSettings, without: set[nn.Parameter]
) -> torch.optim.AdamW:
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    seen = set(without)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen:
                continue
            seen.add(parameter)
            (decayed if name == "weight" and is_linear(module) else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def set_rates(
    optimiser: torch.optim.AdamW | MuonAndAdamW, step: int, settings: TrainingSettings
) -> None:
    """Give both optimisers their learning rates of a step."""
    rates = learning_rates(step, settings)
    for part, name in _parts(optimiser):
        for group in part.param_groups:
            group["lr"] = rates[name]


def _parts(
    optimiser: torch.optim.AdamW | MuonAndAdamW,
) -> list[tuple[torch.optim.Optimizer, str]]:
    if isinstance(optimiser, MuonAndAdamW):
        return [(optimiser.muon, "muon_learning_rate"), (optimiser.adamw, "learning_rate")]
    return [(optimiser, "learning_rate")]


def learning_rates(step: int, settings: TrainingSettings) -> dict[str, float]:
    """The learning rate of each optimiser by the name of its key, on one schedule."""
    rate = learning_rate(step, settings)
    if settings.optimizer == "adamw":
        return {"learning_rate": rate}
    return {"learning_rate": rate, "muon_learning_rate": rate * settings.muon_ratio}


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """AdamW's: warm-up, then constant, or a line or a cosine down to `final_ratio` of the peak."""
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


def _one_cycle(step: int, settings: TrainingSettings) -> float:
    """As torch's OneCycleLR with cosines: from peak / 25 up, then down, each over its steps."""
    peak, top = settings.learning_rate, max(settings.warmup_steps - 1, 1)
    if step < top:
        return _between(peak / 25, peak, step / top)
    span = max(settings.steps - 1 - top, 1)
    return _between(peak, peak * settings.final_ratio, min((step - top) / span, 1.0))


def _between(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * share))
