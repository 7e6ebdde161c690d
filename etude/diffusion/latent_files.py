"""Latents of songs as PhraseLDM keeps them, in and out.

train_data.pt, valid_data.pt, test_data.pt
    a dict by song: `latent`, float32 [latents, z], four to a bar; `length`, how many;
    `phrase_annotation`, the sections as words (A-8), none where none are known. What is read may
    have more, and may be its table of all songs (`latents` and `lengths`, lists).
{split}.safetensors, statistics.json
    what Étude makes of a corpus with the released autoencoder: mean and log_variance
    [latents, z], lengths [songs], in metadata the songs' names; scale and percentile.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from etude.errors import UserError
from etude.storage import atomic, write_json

OF_BAR = 4
WITHIN = 0.999
SPLITS = ("train", "valid", "test")
SURE = -20.0  # log-variance of latents of which only the mean is known


def measured(latents: Tensor) -> dict[str, float]:
    """The scale (mean deviation of a number) and the percentile of latents [n, z], undivided.

    So PhraseLDM's README has them measured: one to divide by, and one to clip at.

    Example:
        >>> import torch
        >>> round(measured(torch.tensor([[1.0, -2.0], [-1.0, 2.0]]))["scale"], 3)
        2.121
    """
    values = latents.double()
    percentile = float(np.quantile(values.abs().numpy(), WITHIN)) if len(values) else 0.0
    scale = float(values.std(0).mean()) if len(values) > 1 else 0.0
    return {"scale": scale, "percentile": percentile}


def save_split(
    folder: Path,
    split: str,
    names: Iterable[str],
    lengths: Iterable[int],
    latents: Mapping[str, Tensor],
) -> None:
    """Write {split}.safetensors: `latents` are mean and log_variance."""
    content = {name: tensor.contiguous() for name, tensor in latents.items()}
    content["lengths"] = torch.tensor(list(lengths), dtype=torch.long)
    save_file(content, folder / f"{split}.safetensors", {"songs": json.dumps(list(names))})


def write_theirs(folder: Path, target: Path) -> list[str]:
    """Write a folder of latents as PhraseLDM's files; their names.

    Raises:
        UserError: it holds none, or those of another system.
    """
    found = []
    for split in SPLITS:
        path = folder / f"{split}.safetensors"
        if path.is_file():
            with atomic(target / f"{split}_data.pt") as temporary:
                torch.save(_songs(path), temporary)
            found.append(f"{split}_data.pt")
    if not found:
        raise UserError(
            "there are no latents here",
            code="no-latents",
            where=str(folder),
            why="none of " + ", ".join(f"{split}.safetensors" for split in SPLITS) + " is in it",
            do="name a folder of results/latents/ of an experiment with released phrases",
        )
    return found


def _songs(path: Path) -> dict[str, dict[str, Any]]:
    with safe_open(path, "pt") as file:
        names = (file.metadata() or {}).get("songs")
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    mean, lengths = tensors.get("mean"), tensors.get("lengths")
    if names is None or mean is None or mean.ndim != 2 or lengths is None:
        raise UserError(
            "these latents are not four to a bar",
            code="latents-of-another-layout",
            where=str(path),
            why="they are of a system that has another layout",
            do="name latents of the released autoencoder",
        )
    parts = mean.split(lengths.tolist())
    return {
        name: {"latent": part.clone(), "length": len(part), "phrase_annotation": []}
        for name, part in zip(json.loads(names), parts, strict=True)
    }


def read_theirs(files: Iterable[Path], folder: Path) -> int:
    """Write PhraseLDM's files as {split}.safetensors and statistics.json; how many songs.

    The split is that of a file's name (train, valid or val, test); of another name it is train.

    Raises:
        UserError: a file cannot be read, or holds something else; a split comes twice.
    """
    done: dict[str, Tensor] = {}
    count = 0
    for file in files:
        songs = _read(file)
        name = next((s for s in ("valid", "val", "test") if file.stem.startswith(s)), "train")
        split = {"val": "valid"}.get(name, name)
        if split in done:
            raise UserError(
                f"two files are of the {split} split",
                code="split-named-twice",
                where=str(file),
                do="name one",
            )
        mean = torch.cat([torch.zeros(0, next(iter(songs.values())).shape[1]), *songs.values()])
        both = {"mean": mean, "log_variance": torch.full_like(mean, SURE)}
        save_split(folder, split, songs, map(len, songs.values()), both)
        done[split], count = mean, count + len(songs)
    write_json(folder / "statistics.json", measured(done.get("train", next(iter(done.values())))))
    return count


def _read(file: Path) -> dict[str, Tensor]:
    """The latents of each song."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        if "latents" in content and "lengths" in content:
            rows = zip(content["latents"], content["lengths"], strict=True)
            content = {f"{n:03}": {"latent": x, "length": k} for n, (x, k) in enumerate(rows)}
        songs = {
            str(name): song["latent"][: int(song.get("length", len(song["latent"])))].float()
            for name, song in content.items()
        }
        widths = {song.shape[1] for song in songs.values() if len(song) % OF_BAR == 0}
    except (
        *(OSError, RuntimeError, pickle.UnpicklingError, EOFError),
        *(ValueError, KeyError, TypeError, AttributeError, IndexError),
    ) as error:
        raise _wrong(file, str(error).splitlines()[0] if str(error) else "it is empty") from None
    if len(widths) != 1 or any(len(song) % OF_BAR for song in songs.values()):
        raise _wrong(file, "its songs are not rows of latents, four to a bar")
    return songs


def _wrong(file: Path, why: str) -> UserError:
    return UserError(
        "these are no latents of PhraseLDM's",
        code="not-latents",
        where=str(file),
        why=why,
        do="give its train_data.pt, valid_data.pt or all_songs_latents.pt",
    )
