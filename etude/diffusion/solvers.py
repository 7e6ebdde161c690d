"""From noise to data: DDIM, DDPM and DPM-Solver++(2M), with a part that is known, or from a source.

All solvers see a network through the data x0 that it predicts, so what follows is the same for
every prediction and every schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from etude.diffusion.predictions import Prediction, to_x0
from etude.diffusion.schedules import Levels, Schedule, Spacing

VERSION = 1  # raised when the same noise gives other data

Solver = Literal["dpm", "ddim", "ddpm"]
# (x [B, ...], time [B] in [0, 1], the last estimate of x0 or None) -> prediction [B, ...]
Denoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]
CLEAN: Levels = (1.0, 0.0)
LEAST_CLIP = 2.5  # deviations: beyond lies 1.2 % of a Gaussian; a clip of 1 ruins what is made


@dataclass(frozen=True)
class Sampler:
    """How data are made from noise.

    Attributes:
        prediction: what the network predicts.
        solver: dpm is DPM-Solver++(2M) (Lu et al., arXiv 2211.01095, algorithm 2), whose last step
            is of first order; ddim is Song et al.'s (arXiv 2010.02502, eq. 12), which for a
            straight schedule is Euler's method; ddpm is ddim with eta 1, which is the same process
            (there, after eq. 16).
        steps: how often the network is asked, from pure noise.
        spacing: of the times; see `Schedule.times`.
        eta: share of fresh noise in ddim.
        clip: estimates of x0 are kept within +- this; None: they are not.
        temperature: deviation of all noise; below 1 what is made is nearer to the usual.

    Raises:
        ValueError: a clip below 2.5 (data are standardised: it would cut off what is usual), or
            fresh noise on a straight schedule.
    """

    schedule: Schedule
    prediction: Prediction = "v"
    solver: Solver = "dpm"
    steps: int = 20
    spacing: Spacing = "trailing"
    eta: float = 0.0
    clip: float | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.clip is not None and self.clip < LEAST_CLIP:
            raise ValueError(f"clip {self.clip:g} is below {LEAST_CLIP} deviations")
        if self.fresh_share and self.schedule.straight:
            raise ValueError("a straight schedule has no fresh noise: use dpm, or ddim with eta 0")

    @property
    def fresh_share(self) -> float:
        """eta as it is used."""
        return {"ddpm": 1.0, "ddim": self.eta, "dpm": 0.0}[self.solver]

    def times(self, strength: float = 1.0) -> list[float]:
        """The last times of the schedule that make up `strength` of the steps, at least one."""
        every = self.schedule.times(self.steps, self.spacing)
        count = min(max(round(self.steps * strength), 1), self.steps)
        return every[-count:]

    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *,
        source: Tensor | None = None,
        strength: float = 1.0,
        known: Tensor | None = None,
        fresh: Callable[[], Tensor] | None = None,
        report: Callable[[float], None] = lambda share: None,
    ) -> Tensor:
        """Denoise; data like `noise`, float32.

        Args:
            denoiser: the network; its output may be of half precision.
            noise: float32 [B, ...], of deviation 1.
            source: data to begin from instead of nothing, noised to the first time (SDEdit, Meng
                et al., arXiv 2108.01073).
            strength: how much of the way back `source` goes; 1: nearly nothing of it is left.
            known: bool like `noise`, True where `source` is to stay as it is.
            fresh: noise like `noise`, new at each call; needed where `fresh_share` is not 0.
            report: told the share of the steps that are done.
        """
        times = self.times(strength)
        levels = [self.schedule.at(time) for time in times]
        x = self.temperature * noise.float()
        if source is not None:
            alpha, sigma = levels[0]
            x = alpha * source.float() + sigma * x
        estimate: Tensor | None = None
        for step, (time, now) in enumerate(zip(times, levels, strict=True)):
            when = torch.full((len(x),), time, dtype=torch.float32, device=x.device)
            x0 = self._data(denoiser(x, when, estimate).float(), x, now)
            if known is not None and source is not None:
                # What is known moves on the line from its noise to its data: each step noises it
                # to the step's level, and the end is the data.
                x0 = torch.where(known, source.float(), x0)
            behind = levels[step - 1] if step else None
            ahead = levels[step + 1] if step + 1 < len(levels) else CLEAN
            x = self._move(x, x0, estimate, behind, now, ahead, fresh)
            estimate = x0
            report((step + 1) / len(times))
        return x

    def _data(self, output: Tensor, x: Tensor, now: Levels) -> Tensor:
        x0 = to_x0(self.prediction, output, x, *now, self.schedule.straight)
        return x0 if self.clip is None else x0.clamp(-self.clip, self.clip)

    def _move(
        self,
        x: Tensor,
        x0: Tensor,
        before: Tensor | None,
        behind: Levels | None,
        now: Levels,
        ahead: Levels,
        fresh: Callable[[], Tensor] | None,
    ) -> Tensor:
        """One step to the levels `ahead`; `before` is the estimate of x0 at the levels `behind`."""
        (alpha, sigma), (next_alpha, next_sigma) = now, ahead
        if self.solver == "dpm" and before is not None and behind is not None and next_sigma:
            # Order 2: x0 drawn on along log(alpha / sigma) to half the step ahead.
            ratio = (_signal(ahead) - _signal(now)) / (_signal(now) - _signal(behind))
            x0 = x0 + ratio / 2 * (x0 - before)
        # Of first order all solvers agree: alpha' x0 + sigma' (noise as x and x0 have it), of which
        # `spread` is replaced by fresh noise.
        spread = self.fresh_share * next_sigma / sigma
        spread *= math.sqrt(max(1 - (alpha / next_alpha) ** 2, 0.0))
        kept = math.sqrt(max(next_sigma**2 - spread**2, 0.0)) / sigma
        moved = kept * x + (next_alpha - kept * alpha) * x0
        if not spread:
            return moved
        if fresh is None:
            raise ValueError("this solver needs fresh noise")
        return moved + spread * self.temperature * fresh().float()


def _signal(levels: Levels) -> float:
    """log(alpha / sigma); minus infinity where there is no signal."""
    alpha, sigma = levels
    return math.log(alpha / sigma) if alpha > 0 else -math.inf


def clip_of(percentile: float) -> float:
    """The clip of data whose standardised size is `percentile` nearly everywhere (99.9 %).

    Example:
        >>> clip_of(4.0), clip_of(1.0)
        (4.0, 2.5)
    """
    return max(percentile, LEAST_CLIP)
