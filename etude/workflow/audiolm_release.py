"""Is audiolm-pytorch here, in the release that Étude knows? Standard library only."""

from __future__ import annotations

import importlib.util
from importlib import metadata

from etude.errors import UserError

PACKAGE, RELEASE = "audiolm-pytorch", "2.4.0"
NEEDED = ("audiolm_pytorch", "beartype", "einops", "hyper_connections", "torch_einops_utils")
INSTALL = ".venv/bin/uv pip install --python .venv/bin/python --no-deps -r requirements/audiolm.txt"


def check_installed() -> None:
    """See, without importing anything, that the package is there.

    Raises:
        UserError: naming what is missing and the command that installs it.
    """
    if missing := [name for name in NEEDED if not _is_here(name)]:
        raise UserError(
            f"the package {missing[0].replace('_', '-')} is not installed in this environment",
            where="backend: audiolm_pytorch",
            why="the library's networks are not Étude's, and stand in an environment of their own",
            do=f"add --sdm conda to the command, or install it into this one: {INSTALL}",
        )
    if (found := metadata.version(PACKAGE)) != RELEASE:
        raise UserError(
            f"{PACKAGE} {RELEASE} is needed, {found} is installed",
            where="backend: audiolm_pytorch",
            why="another release may compute other values from the same weights",
            do=INSTALL,
        )


def _is_here(name: str) -> bool:
    """Whether there is a package of this name; a mere folder of that name is none."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
