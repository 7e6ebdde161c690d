"""The files that CONTRIBUTING.md shows in full: what is tested is what stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Parts of files of this checkout: the recipe for a system is a toy that the tests run.
PARTS = re.compile(r"^`(tests/[\w./]+)`\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^`([\w.]+)`\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """Text by file name."""
    return dict(SHOWN.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))


def parts() -> list[tuple[Path, str]]:
    """A file of this checkout, and what CONTRIBUTING.md shows of it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return [(ROOT / name, part) for name, part in PARTS.findall(text)]


def write_files(folder: Path) -> dict[str, Path]:
    """Write them into a folder; paths by name."""
    paths = {name: folder / name for name in files()}
    for name, text in files().items():
        paths[name].write_text(text, encoding="utf-8")
    return paths
