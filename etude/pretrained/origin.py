"""Which weights made a result: where they came from, and their hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from etude.storage import hash_file, read_json

ORIGIN = "origin.json"  # in a folder of results/pretrained/
CHECKPOINT = "checkpoint"  # there, with its own suffix: a stage's file as others saved it


def read_origin(folder: Path) -> dict[str, str]:
    """`from` and `sha256` of weights in results/pretrained/, or in a folder of the hub's form."""
    if not (folder / ORIGIN).is_file():
        return {"from": folder.name, "sha256": hash_file(folder / "model.safetensors")}
    about = read_json(folder / ORIGIN)
    return {key: about[key] for key in ("from", "sha256")}


def written(origins: Iterable[Mapping[str, str]]) -> str:
    """Origins in one cell of a table: name and the first 16 digits of each hash."""
    words = (f"{about['from']} {about['sha256'][:16]}" for about in origins if about)
    return "; ".join(dict.fromkeys(words))


def checkpoint_in(folder: Path) -> Path | None:
    """The file of a stage in a folder of results/pretrained/; None: it holds a network."""
    return next(iter(sorted(folder.glob(f"{CHECKPOINT}.*"))), None) if folder.is_dir() else None
