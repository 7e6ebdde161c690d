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
    """A run of wandb's; `run` is the state's fingerprint, so that a resumed training goes on in it.

    Raises:
        UserError: wandb is not installed.
    """
    try:
        wandb = importlib.import_module("wandb")
    except ModuleNotFoundError:
        raise UserError(
            "`tracking` asks for wandb, which is not installed here",
            where="training.tracking",
            do=".venv/bin/uv pip install --python .venv/bin/python wandb, then `wandb login` or "
            "WANDB_MODE=offline; or leave it out",
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        project=PROJECT, name=name, id=run, resume="allow", dir=str(folder), config=settings
    )
