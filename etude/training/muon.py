"""Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal.

A matrix moves by its momentum with all singular values brought near 1, so that no direction of it
learns faster than another. Each step is scaled to the size of AdamW's (0.2 sqrt(longer side) x the
learning rate; Liu et al., arXiv 2502.16982), as torch.optim.Muon does by `match_rms_adamw`. Beyond
torch's: the parts of a fused matrix are made orthogonal one by one, matrices of one shape are one
batch, and a CPU computes in float32 (most have no bfloat16 and take twenty times as long for it).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Names of fused linear layers, and how many matrices each holds.
FUSED = {"query_key_value": 3, "qkv": 3, "to_qkv": 3, "c_attn": 3, "to_kv": 2, "kv": 2}
HEADS = {"head", "heads", "logits"}  # words of a name: lm_head, heads.2, to_logits
BLOCKS = {"blocks", "layers", "h"}  # below such a list a head is one of attention
MOMENTUM = 0.95
STEPS = 5
# Of x -> a x + b x^3 + c x^5, five times: brings all of [0.01, 1] to within 0.7 to 1.2.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Matrix(NamedTuple):
    """A weight that Muon trains: `parts` equal matrices, one after the other along `dim`."""

    weight: nn.Parameter
    parts: int = 1
    dim: int = 0


def matrices(model: nn.Module) -> list[Matrix]:
    """The 2-D weights of a network's linear and recurrent layers, but for its heads.

    A head is a layer whose name says so (HEADS). Embeddings, weights tied to one, and parameters of
    any other kind of module are not matrices between hidden layers.
    """
    seen = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    found = []
    for name, module in model.named_modules():
        if _is_head(name):
            continue
        for matrix in _of_module(name.rpartition(".")[2], module):
            weight = matrix.weight
            if id(weight) not in seen and weight.requires_grad and min(weight.shape) > 1:
                seen.add(id(weight))
                found.append(matrix)
    return found


def is_linear(module: nn.Module) -> bool:
    """Also transformers' Conv1D, which is a linear layer by its transposed weight."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _is_head(name: str) -> bool:
    for part in name.split("."):
        if part in BLOCKS:
            return False
        if HEADS & set(part.lower().split("_")):
            return True
    return False


def _of_module(name: str, module: nn.Module) -> Iterator[Matrix]:
    if is_linear(module):
        weight: Any = module.weight
        dim = 0 if isinstance(module, nn.Linear) else 1  # along the layer's output
        parts = FUSED.get(name, 1)
        yield Matrix(weight, parts if weight.shape[dim] % parts == 0 else 1, dim)
    elif isinstance(module, nn.RNNBase):  # gates
        for weight in module.parameters():
            if weight.ndim == 2:
                yield Matrix(weight, max(1, weight.shape[0] // module.hidden_size))
    elif isinstance(module, nn.MultiheadAttention):
        for key, weight in module.named_parameters(recurse=False):
            if weight.ndim == 2 and key.endswith("proj_weight"):
                yield Matrix(weight, 3 if key == "in_proj_weight" else 1)


class Muon(torch.optim.Optimizer):
    """The optimiser of some matrices; `lr` is comparable to AdamW's."""

    def __init__(self, found: list[Matrix], lr: float, weight_decay: float) -> None:
        groups: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for weight, parts, dim in found:
            groups[parts, dim].append(weight)
        described = [{"params": w, "parts": p, "dim": d} for (p, d), w in groups.items()]
        super().__init__(described, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move each matrix; `closure` is not supported."""
        assert closure is None
        alike: dict[torch.Size, list[tuple[Tensor, Tensor, float]]] = defaultdict(list)
        for group in self.param_groups:
            cut = (group["parts"], group["dim"])
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                update = self._momentum(weight)
                for place, part in zip(weight.chunk(*cut), update.chunk(*cut), strict=True):
                    alike[part.shape].append((place, part, group["lr"]))
        for shape, rows in alike.items():
            moves = orthogonal(torch.stack([part for _, part, _ in rows]))
            for (place, _, rate), move in zip(rows, moves, strict=True):
                place.add_(move, alpha=-rate * 0.2 * math.sqrt(max(shape)))

    def _momentum(self, weight: Tensor) -> Tensor:
        """The gradient's moving average, a step ahead (Nesterov)."""
        assert weight.grad is not None
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        return weight.grad.lerp(state["momentum"], MOMENTUM)


def orthogonal(batch: Tensor) -> Tensor:
    """U V' of each matrix U S V', nearly (Newton-Schulz): [n, rows, columns] -> the same."""
    a, b, c = COEFFICIENTS
    x = batch.bfloat16() if batch.device.type == "cuda" else batch.float()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(batch.dtype)
