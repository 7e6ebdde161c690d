"""What makes a training faster or smaller, and how close it comes to the device's peak."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from etude.config import TrainingSettings
from etude.errors import UserError

# Peak of dense matrix products in 10^12 FLOP/s, by the makers' data sheets: bf16, fp32 (no TF32).
PEAKS = {
    "H200": (989.0, 67.0),
    "H100 PCIe": (756.0, 51.0),
    "H100": (989.0, 67.0),
    "A100": (312.0, 19.5),
    "L40S": (362.0, 91.6),
    "L4": (121.0, 30.3),
    "A10G": (70.0, 35.0),
    "A10": (125.0, 31.2),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71.0, 35.6),
}
LISTS = ("blocks", "h", "layers", "transformer_blocks")  # what the networks call their blocks


def prepare_network(model: nn.Module, settings: TrainingSettings) -> None:
    """Checkpoint and compile the network of a stage in place; names of weights stay.

    Raises:
        UserError: there is no compiler, or the network has no known blocks.
    """
    body = getattr(model, "body", model)
    if settings.checkpoint_activations:
        _checkpoint(body)
    if settings.compile:
        if not has_compiler():
            raise UserError(
                "`compile: true` needs a C++ compiler",
                code="compiler-missing",
                where="training.compile",
                why="torch.compile writes C++ or Triton code, and none of g++, clang++ and $CXX is "
                "here",
                do="sudo apt-get install g++, or leave `compile` out",
            )
        for network in body.children():
            network.compile()


def has_compiler() -> bool:
    """Whether torch.compile finds a compiler."""
    return any(shutil.which(c) for c in (os.environ.get("CXX", ""), "g++", "clang++") if c)


def _checkpoint(model: nn.Module) -> None:
    """Compute each block a second time on the way back instead of keeping what it computed."""
    lists = [
        part
        for name, part in model.named_modules()
        if isinstance(part, nn.ModuleList) and name.rpartition(".")[2] in LISTS
    ]
    if not lists:
        raise UserError(
            "this network cannot be checkpointed",
            code="cannot-be-checkpointed",
            where="training.checkpoint_activations",
            why=f"it has no ModuleList named {', '.join(LISTS)}",
            do="leave the key out, or call the list of its blocks `blocks`",
        )
    for block in lists[0]:
        block.forward = partial(_again, block, block.forward)


def _again(block: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


# -------------------------------------------------------------------------------- utilisation


def peak_flops(device: torch.device, precision: str) -> float | None:
    """A device's peak FLOP/s; None if unknown (every CPU)."""
    if device.type != "cuda":
        return None
    return peak_of(torch.cuda.get_device_name(device), precision)


def peak_of(name: str, precision: str) -> float | None:
    """The peak of a GPU by its name, as the driver says it."""
    plain = f" {name.replace('-', ' ')} "
    for known, (bf16, fp32) in PEAKS.items():
        if all(f" {word} " in plain for word in known.split()):
            return 1e12 * (bf16 if precision == "bf16" else fp32)
    return None
