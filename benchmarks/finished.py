"""A finished run to start from: what costs minutes and is the same is not made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def start_from(folder: Path, parts: Iterable[str] = ("*",)) -> None:
    """Copy some of a finished run's results/ ($ETUDE_RESULTS; unset: nothing) into a folder.

    Args:
        parts: of results/, as patterns. Times of files stay, so that Snakemake takes them as made.
    """
    if "ETUDE_RESULTS" not in os.environ:
        return
    source = Path(os.environ["ETUDE_RESULTS"])
    for path in (path for pattern in parts for path in source.glob(pattern)):
        target = folder / "results" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copy2(path, target)
