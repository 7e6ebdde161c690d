"""What a training runs on: one process (the usual case), or several that share every batch.

Several processes are started from outside (`accelerate launch`, `torchrun`, a SLURM step); each
takes its part of the same global batch, and together they give the gradients of one process at
that batch. Only the first writes.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16"]


def open_devices(precision: Precision, device: str) -> Devices:
    """The devices of this process: those of its launcher where it has one."""
    return (ManyDevices if processes() > 1 else Devices)(precision, device)


def processes() -> int:
    """How many the launcher has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Devices:
    """One process, one device, no library in between (accelerate takes seconds to import)."""

    index, count = 0, 1

    def __init__(self, precision: Precision, device: str) -> None:
        self.precision, self.device = precision, torch.device(device)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    def prepare(self, model: nn.Module) -> nn.Module:
        """`model.loss` as a module whose call gives the loss."""
        return _Loss(model)

    def autocast(self) -> AbstractContextManager[Any]:
        """Matrix products in bfloat16 if asked for; weights and sums stay in float32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def backward(self, loss: Tensor, count: float) -> None:
        """Add the gradients of a mean over `count` tokens, or whatever the loss is a mean over."""
        loss.backward()

    def total(self, *values: float) -> list[float]:
        """Each value, summed over all processes."""
        return list(values)

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """The context of a part of a step; gradients are exchanged with the last part only."""
        return nullcontext()


class ManyDevices(Devices):
    """One of several processes, by accelerate."""

    def __init__(self, precision: Precision, device: str) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # Not every parameter takes part in every loss: the special codebook is never predicted.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision="no" if precision == "fp32" else precision,
            kwargs_handlers=[unused],
        )
        super().__init__(precision, str(self.accelerator.device))
        self.index, self.count = self.accelerator.process_index, self.accelerator.num_processes

    def prepare(self, model: nn.Module) -> nn.Module:  # noqa: D102
        return self.accelerator.prepare_model(_Loss(model))

    def autocast(self) -> AbstractContextManager[Any]:  # noqa: D102
        return self.accelerator.autocast()

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:  # noqa: D102
        return nullcontext() if last else self.accelerator.no_sync(module)

    def backward(self, loss: Tensor, count: float) -> None:
        """Gradients are averaged over processes, so each counts by its share of the tokens."""
        share = count * self.count / max(self.total(count)[0], 1)
        self.accelerator.backward(loss * share)

    def total(self, *values: float) -> list[float]:  # noqa: D102
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        return self.accelerator.reduce(summed, "sum").tolist()


class _Loss(nn.Module):
    """Distributed training hooks into a module's call only, and the models offer `loss`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        return self.model.loss(batch)  # type: ignore[operator]
