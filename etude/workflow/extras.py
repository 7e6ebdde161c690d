"""Are an environment's extra packages installed? Standard library only.

An environment that an experiment's `env()` names needs the packages of requirements/<name>.txt, in
those versions. An environment without such a file needs nothing besides the lock's.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from etude.errors import UserError

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
INSTALL = ".venv/bin/uv pip install --python .venv/bin/python --no-deps -r requirements/{}.txt"


def environments() -> list[str]:
    """The environments that need more than the lock has."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt") if path.stem != "lock")


def packages(env: str) -> dict[str, str]:
    """Packages and versions that an environment needs beyond the usual ones, the main one first."""
    path = REQUIREMENTS / f"{env}.txt"
    if env == "lock" or not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").split("\n")
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def install(env: str) -> str:
    """The command that installs them into the environment of `make setup`."""
    return INSTALL.format(env)


def check_installed(env: str) -> None:
    """See, without importing anything, that an environment's packages are here.

    Raises:
        UserError: naming what is missing, or of another version, and the command to install it.
    """
    for name, wanted in packages(env).items():
        found = installed(name)
        if found is None:
            raise UserError(
                f"the package {name} is not installed in this environment",
                code="package-not-installed",
                where=f"envs/{env}.yaml, which an experiment's networks run in",
                why="its networks are not Étude's, and are in an environment of their own",
                do=f"add --sdm conda to the command, or install it into this one: {install(env)}",
            )
        if found.partition("+")[0] != wanted:
            raise UserError(
                f"{name} {wanted} is needed, {found} is installed",
                code="another-package-version",
                where=f"envs/{env}.yaml, which an experiment's networks run in",
                why="another release may compute other values from the same weights",
                do=install(env),
            )


def installed(name: str) -> str | None:
    """The version of an installed package; None where it is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
