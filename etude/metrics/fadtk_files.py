"""Embeddings and statistics as fadtk keeps them (Gui et al., arXiv 2311.01616), read and written.

<folder>/embeddings/<model>/<clip>.npy    [windows, dim] of each clip
<folder>/stats/<model>/mu.npy, cov.npy    mean [dim] and covariance [dim, dim] of all windows
<name>.npz                                `<model>.mu`, `<model>.cov` of each model, as fma_pop
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.errors import UserError
from etude.metrics.frechet import statistics
from etude.storage import atomic

Array = NDArray[np.float64]
BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def has_statistics(path: Path) -> bool:
    """Whether a path is a file of statistics, or a folder with what fadtk left of one."""
    return path.suffix == ".npz" or any((path / name).is_dir() for name in ("stats", "embeddings"))


def read_statistics(path: Path, model: str) -> tuple[Array, Array]:
    """Mean [dim] and covariance [dim, dim] of an embedding.

    Raises:
        UserError: nothing of this embedding is there, or it cannot be read.
    """
    try:
        mean, covariance = (np.asarray(a, dtype=np.float64) for a in _read(path, model))
    except BROKEN as error:
        raise UserError(
            f"no statistics of the embedding {model} can be read",
            code="unreadable-statistics",
            where=str(path),
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            do="give fadtk's .npz or folder of this embedding, or name another with --model",
        ) from None
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or not np.isfinite(mean).all():
        raise UserError(
            "these are no statistics of an embedding",
            code="unreadable-statistics",
            where=str(path),
            why=f"a mean {list(mean.shape)} and a covariance {list(covariance.shape)}",
            do="give fadtk's .npz or folder",
        )
    return mean, covariance


def _read(path: Path, model: str) -> tuple[Array, Array]:
    if path.is_file():
        with np.load(path) as data:
            if f"{model}.mu" not in data:
                found = sorted(name.removesuffix(".mu") for name in data if name.endswith(".mu"))
                raise ValueError(f"it has those of: {', '.join(found) or 'nothing'}")
            return data[f"{model}.mu"], data[f"{model}.cov"]
    if (stats := path / "stats" / model).is_dir():
        return np.load(stats / "mu.npy"), np.load(stats / "cov.npy")
    files = sorted((path / "embeddings" / model).glob("*.npy"))
    if not files:
        raise ValueError(f"neither stats/{model} nor embeddings/{model} is in it")
    rows = [np.load(file).astype(np.float64) for file in files]
    return statistics(np.concatenate([r.reshape(-1, r.shape[-1]) for r in rows]))


def write_embeddings(folder: Path, model: str, clips: Mapping[str, Array]) -> None:
    """Write the windows [n, dim] of clips by name, and their statistics where there are two."""
    for name, windows in clips.items():
        _save(folder / "embeddings" / model / f"{name}.npy", windows.astype(np.float32))
    rows = np.concatenate(list(clips.values())).astype(np.float64)
    if len(rows) < 2:
        return  # a single window has no covariance
    mean, covariance = statistics(rows)
    _save(folder / "stats" / model / "mu.npy", mean)
    _save(folder / "stats" / model / "cov.npy", covariance)


def _save(path: Path, array: NDArray[np.floating]) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
