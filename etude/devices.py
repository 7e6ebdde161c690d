"""Which device networks run on."""

from __future__ import annotations


def choose_device() -> str:
    """The first GPU where there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
