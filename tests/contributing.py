"""The files that CONTRIBUTING.md shows in full: what is tested is what stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN = re.compile(r"^`([\w.]+)`\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """Text by file name."""
    return dict(SHOWN.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))


def write_files(folder: Path) -> dict[str, Path]:
    """Write them into a folder; paths by name."""
    paths = {name: folder / name for name in files()}
    for name, text in files().items():
        paths[name].write_text(text, encoding="utf-8")
    return paths
