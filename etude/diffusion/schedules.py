"""How much noise there is at a time between 0 (data) and 1 (noise)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

VERSION = 1  # raised when the same times have other levels

Kind = Literal["squared_cosine", "linear", "cosine", "flow"]
Spacing = Literal["trailing", "leading"]
Levels = tuple[float, float]  # alpha and sigma


@dataclass(frozen=True)
class Schedule:
    """Levels of signal and noise, alpha and sigma, by time.

    The first two kinds are tables of `steps` levels; step i is at time i / steps:
    - squared_cosine: Nichol and Dhariwal (arXiv 2102.09672, eq. 17), betas at most 0.999;
      diffusers calls it squaredcos_cap_v2.
    - linear: betas on a line (Ho et al., arXiv 2006.11239), divided by steps / 1000, so that the
      levels at a time hardly depend on `steps`.
    The others are continuous, and have no use for `steps`:
    - cosine: alpha = cos(pi t / 2), sigma = sin(pi t / 2), as Stable Audio Open has it.
    - flow: alpha = 1 - t, sigma = t (rectified flow, Liu et al., arXiv 2209.03003).

    Raises:
        ValueError: fewer than 25 steps of a table (a beta of `linear` would pass 0.8).

    Example:
        >>> import torch
        >>> alpha, sigma = Schedule("flow").levels(torch.tensor([0.25]))
        >>> float(alpha), float(sigma)
        (0.75, 0.25)
        >>> Schedule("linear", 10)
        Traceback (most recent call last):
        ValueError: a schedule needs 25 steps at least, not 10
    """

    kind: Kind = "squared_cosine"
    steps: int = 1000

    def __post_init__(self) -> None:
        if self.tabled and self.steps < 25:
            raise ValueError(f"a schedule needs 25 steps at least, not {self.steps}")

    @property
    def tabled(self) -> bool:
        """Whether only `steps` times have a level of their own."""
        return self.kind in {"squared_cosine", "linear"}

    @property
    def straight(self) -> bool:
        """Whether alpha + sigma = 1; elsewhere the sum of their squares is 1."""
        return self.kind == "flow"

    @cached_property
    def products(self) -> Tensor:
        """alpha^2 of each step of a table, float64 [steps]; it falls."""
        if self.kind == "linear":
            scale = 1000 / self.steps
            betas = torch.linspace(1e-4 * scale, 0.02 * scale, self.steps, dtype=torch.float64)
        else:
            edges = torch.arange(self.steps + 1, dtype=torch.float64) / self.steps
            kept = torch.cos((edges + 0.008) / 1.008 * math.pi / 2) ** 2
            betas = (1 - kept[1:] / kept[:-1]).clamp(max=0.999)
        return (1 - betas).cumprod(0)

    def snap(self, time: Tensor) -> Tensor:
        """Times in [0, 1) -> those that the schedule has, float32: of a table the step's own."""
        if not self.tabled:
            return time.float()
        step = (time.double() * self.steps).floor().clamp(0, self.steps - 1)
        return (step / self.steps).float()

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Times -> alpha and sigma of the same shape, float32 (computed in float64)."""
        when = time.double()
        if self.kind == "flow":
            alpha, sigma = 1 - when, when
        elif self.kind == "cosine":
            alpha, sigma = (when * math.pi / 2).cos(), (when * math.pi / 2).sin()
        else:
            step = (when * self.steps).round().long().clamp(0, self.steps - 1)
            product = self.products.to(time.device)[step]
            alpha, sigma = product.sqrt(), (1 - product).sqrt()
        return alpha.float(), sigma.float()

    def at(self, time: float) -> Levels:
        """alpha and sigma of one time, as Python's numbers."""
        if self.tabled:
            step = min(max(round(time * self.steps), 0), self.steps - 1)
            product = float(self.products[step])
            return math.sqrt(product), math.sqrt(1 - product)
        if self.straight:
            return 1 - time, time
        return math.cos(time * math.pi / 2), math.sin(time * math.pi / 2)

    def times(self, count: int, spacing: Spacing = "trailing") -> list[float]:
        """The times at which a solver of `count` steps asks the network, falling.

        Trailing begins at the noisiest time and is what to use (Lin et al., arXiv 2305.08891);
        leading ends at the cleanest and never sees the noisiest. Both as diffusers has them.

        Raises:
            ValueError: more steps than the table has, or leading of what is no table.
        """
        if not self.tabled:
            if spacing == "leading":
                raise ValueError(f"the schedule {self.kind} has no leading spacing")
            return [1 - step / count for step in range(count)]
        if not 1 <= count <= self.steps:
            raise ValueError(f"{count} steps of a schedule that has {self.steps}")
        if spacing == "leading":
            jump = self.steps // count
            return [step * jump / self.steps for step in reversed(range(count))]
        return [
            (round(self.steps - step * self.steps / count) - 1) / self.steps
            for step in range(count)
        ]
