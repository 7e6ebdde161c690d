"""What a network predicts of noisy data, and what it is trained on.

epsilon is the noise, x0 the data, v the direction: alpha noise - sigma x0 (Salimans and Ho, arXiv
2202.00512), or noise - x0 where the schedule is straight (rectified flow). v is the default: of
epsilon the data are made by a division by alpha, which at the end of squared_cosine is 5e-5, so
that the rounding of half precision, and small errors of any network, are multiplied by 20,000.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor

from etude.diffusion.schedules import Schedule

VERSION = 1  # raised when results change

Prediction = Literal["v", "epsilon", "x0"]
Level = TypeVar("Level", float, Tensor)


def to_x0(
    prediction: Prediction, output: Tensor, x: Tensor, alpha: Level, sigma: Level, straight: bool
) -> Tensor:
    """The data that a network's output says, given noisy x = alpha x0 + sigma noise.

    Example:
        >>> import torch
        >>> data, noise = torch.tensor([2.0]), torch.tensor([1.0])
        >>> noisy, output = 0.6 * data + 0.8 * noise, target("v", data, noise, 0.6, 0.8, False)
        >>> to_x0("v", output, noisy, 0.6, 0.8, False).round(decimals=4).tolist()
        [2.0]
    """
    if prediction == "x0":
        return output
    if prediction == "epsilon":
        return (x - sigma * output) / alpha
    return x - sigma * output if straight else alpha * x - sigma * output


def from_x0(
    prediction: Prediction, x0: Tensor, x: Tensor, alpha: Level, sigma: Level, straight: bool
) -> Tensor:
    """The output that says this data: the inverse of `to_x0` (sigma must not be 0).

    Example:
        >>> import torch
        >>> data, noise = torch.tensor([2.0]), torch.tensor([1.0])
        >>> noisy = 0.6 * data + 0.8 * noise
        >>> from_x0("epsilon", data, noisy, 0.6, 0.8, False).round(decimals=4).tolist()
        [1.0]
    """
    noise = (x - alpha * x0) / sigma
    return target(prediction, x0, noise, alpha, sigma, straight)


def target(
    prediction: Prediction,
    x0: Tensor,
    noise: Tensor,
    alpha: Level,
    sigma: Level,
    straight: bool,
) -> Tensor:
    """What a network ought to predict.

    Example:
        >>> import torch
        >>> data, noise = torch.tensor([2.0]), torch.tensor([1.0])
        >>> target("v", data, noise, 0.6, 0.8, straight=False).tolist()  # 0.6 x 1 - 0.8 x 2
        [-1.0]
    """
    if prediction == "x0":
        return x0
    if prediction == "epsilon":
        return noise
    return noise - x0 if straight else alpha * noise - sigma * x0


def noised(
    schedule: Schedule, prediction: Prediction, x0: Tensor, noise: Tensor, time: Tensor
) -> tuple[Tensor, Tensor]:
    """Noisy data and what is to be predicted of it, both as x0.

    Args:
        x0, noise: float32 [B, ...].
        time: [B], of those that the schedule has.

    Example:
        >>> import torch
        >>> x, wanted = noised(
        ...     Schedule("flow"), "v", torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0.25])
        ... )
        >>> x.tolist(), wanted.tolist()
        ([[0.25, 0.25]], [[1.0, 1.0]])
    """
    alpha, sigma = (
        level.view(-1, *[1] * (x0.ndim - 1)).to(x0.device) for level in schedule.levels(time)
    )
    x = alpha * x0 + sigma * noise
    return x, target(prediction, x0, noise, alpha, sigma, schedule.straight)


def stratified(places: Tensor) -> Tensor:
    """Independent numbers in [0, 1) [B] -> times in [0, 1), one in each B-th part.

    They share the first number (Kingma et al., arXiv 2107.00630, appendix I.1): each time is still
    uniform, and the mean of a batch varies less.

    Example:
        >>> import torch
        >>> stratified(torch.tensor([0.1, 0.7, 0.9, 0.3])).round(decimals=2).tolist()
        [0.10000000149011612, 0.3499999940395355, 0.6000000238418579, 0.8500000238418579]
    """
    count = len(places)
    return (places[0] + torch.arange(count, device=places.device) / count) % 1


def squared_error(output: Tensor, wanted: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error, a scalar in float32.

    Args:
        output, wanted: [B, T, ...].
        mask: bool [B, T], True where something is; None: everywhere, padding too.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, False]])
        >>> float(squared_error(torch.tensor([[[1.0], [9.0]]]), torch.zeros(1, 2, 1), mask))
        1.0
    """
    error = (output.float() - wanted.float()).square()
    if mask is None:
        return error.mean()
    each = error.flatten(2).mean(2)
    return (each * mask).sum() / mask.sum().clamp(min=1)
