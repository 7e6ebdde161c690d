"""What a page was made with: hashes of code and environment, and what differs from the lock."""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import etude
from etude.storage import hash_file

HOME = Path(etude.__file__).resolve().parents[1]
CODE = ("Snakefile", "rules/*.smk", "scripts/*.py", "etude/**/*.py", "etude/report/*.*")
NAMED = ("torch", "numpy", "snakemake", "soundfile", "symusic", "scipy")


@dataclass(frozen=True)
class Provenance:
    """Code and environment; the hashes of config and data are listed with each experiment."""

    code: str
    python: str
    lock: str
    packages: dict[str, str]
    differs: list[str] = field(default_factory=list)


def read_provenance(home: Path = HOME) -> Provenance:
    """Hash the code and compare what is installed with the lock.

    A package that is not there is no difference: a rule's own environment has what it needs.
    """
    lock = home / "requirements" / "lock.txt"
    pins = (
        dict(re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(), re.MULTILINE))
        if (there := lock.is_file())
        else {}
    )
    found = {name: installed for name in {*pins, *NAMED} if (installed := _installed(name))}
    differs = [
        f"{name} {found[name]} (lock: {pin})"
        for name, pin in sorted(pins.items())
        if name in found and found[name].split("+")[0] != pin
    ]
    return Provenance(
        code=hash_code(home),
        python=f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        lock=hash_file(lock) if there else "",
        packages={name: found[name] for name in NAMED if name in found},
        differs=differs,
    )


def hash_code(home: Path) -> str:
    """SHA-256 over the names and bytes of all that makes results."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in CODE for path in home.glob(pattern)}):
        digest.update(path.relative_to(home).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
