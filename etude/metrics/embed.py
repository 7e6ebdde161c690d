"""Embeddings of clip sets, kept beside the other metrics as one .npz per embedding."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from etude.metrics.clip_sets import count_clips, read_clips
from etude.metrics.registry import Options, open_embedding
from etude.metrics.samples import ABOUT, Clips
from etude.pool import Failed, tried
from etude.pretrained.origin import written
from etude.storage import atomic

log = logging.getLogger(__name__)


def embed_set(
    folder: Path,
    embedding: str,
    rate: int,
    options: Options | None = None,
    weights: Path | None = None,
) -> Clips:
    """All windows of a clip set: float64 [n, d], with their clips and the clips' pieces.

    Raises:
        UserError: when a clip cannot be read, or an embedding of the user's does not fit.
    """
    return embed_with(open_embedding(embedding, rate, options, weights), folder, embedding)


def embed_with(model: Any, folder: Path, embedding: str) -> Clips:
    """As `embed_set`, by an embedding that is open."""
    rows: list[np.ndarray] = []
    clips: list[int] = []
    units: list[str] = []
    names: list[str] = []
    bar = tqdm(
        total=count_clips(folder), desc=f"{embedding}: {folder.name}", unit="clip", mininterval=1.0
    )
    for index, (row, wave) in enumerate(read_clips(folder, model.sample_rate)):
        bar.update()
        units.append(row.get("piece") or "")
        names.append(row["clip"])
        if not len(wave):
            continue
        windows = tried(lambda samples: model.embed(samples[None])[0], wave)
        if isinstance(windows, Failed):
            log.warning("%s/%s is left out: %s", folder.name, row["clip"], windows.reason)
            continue
        rows.append(windows)
        clips += [index] * len(windows)
    bar.close()
    table = np.concatenate(rows) if rows else np.zeros((0, model.dim))
    return Clips(table.astype(np.float64), np.array(clips, dtype=np.int64), units, names)


def embed_sets(
    folders: dict[str, Path],
    embedding: str,
    rate: int,
    output: Path,
    options: Options | None = None,
    weights: Path | None = None,
) -> None:
    """Write {set: embeddings, set/clips, set/units, set/names} of several clip sets.

    Of weights that others trained, ABOUT says which they were.
    """
    arrays: dict[str, np.ndarray] = {}
    model = open_embedding(embedding, rate, options, weights)
    if origin := getattr(model, "origin", None):
        arrays[ABOUT] = np.array([written([origin])], dtype=np.str_)
    for name, folder in folders.items():
        found = embed_with(model, folder, embedding)
        arrays |= {name: found.windows, f"{name}/clips": found.clips}
        # Of an empty list NumPy would make floats.
        arrays |= {f"{name}/units": np.array(found.units, dtype=np.str_)}
        arrays |= {f"{name}/names": np.array(found.names, dtype=np.str_)}
    with atomic(output) as temporary:
        # Without `allow_pickle`: fadtk's NumPy takes every keyword for an array.
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
