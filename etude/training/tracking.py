"""Weights & Biases, where config asks for it; imported only then.

WANDB_MODE=offline (and the other variables of wandb's) are honoured by wandb itself.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from etude.errors import UserError

PROJECT = "etude"


def open_wandb(folder: Path, name: str, run: str, settings: dict[str, Any]) -> Any:
    """A run of wandb's; `run` is the state's fingerprint, so that a resumed training stays in it.

    Raises:
        UserError: wandb is not installed, or does not start a run (nobody is logged in, its server
            does not answer).
    """
    try:
        wandb = importlib.import_module("wandb")
    except ModuleNotFoundError:
        raise UserError(
            "`tracking` asks for wandb, which is not installed here",
            code="package-not-installed",
            where="training.tracking",
            do=".venv/bin/uv pip install --python .venv/bin/python wandb==0.31.0, then "
            "`wandb login` or WANDB_MODE=offline; or leave it out",
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return wandb.init(
            project=PROJECT, name=name, id=run, resume="allow", dir=str(folder), config=settings
        )
    except _errors(wandb) as error:
        raise UserError(
            "wandb begins no run",
            code="wandb-failed",
            where="training.tracking",
            why=str(error).strip().split("\n")[0] or type(error).__name__,
            do="`wandb login`, or WANDB_API_KEY in the environment; WANDB_MODE=offline keeps the "
            "curves here, and `wandb sync` sends them later; or leave it out of `tracking`",
        ) from None


def _errors(wandb: Any) -> tuple[type[Exception], ...]:
    """What wandb raises where it cannot log in or reach its server."""
    own = getattr(getattr(wandb, "errors", None), "Error", None)
    return (own, OSError) if isinstance(own, type) else (OSError,)
