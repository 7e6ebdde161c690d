"""Packed pieces as the released networks have songs: texts, their latents, and how true these are.

{split}.safetensors
    mean, log_variance   float32 [texts of all pieces, z]: four to a bar
    lengths              int64 [pieces]: texts
statistics.json
    scale, percentile    as PhraseLDM's README measures them: the mean deviation of a number of the
                         latents, and within what 99.9 % lie, undivided; of the training split
    fidelity             by split: texts, and the F1 of notes from the mean of their latents
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from etude.storage import write_json
from etude.systems.phrase_ldm.fidelity import matches
from etude.systems.phrase_ldm.latents import posteriors
from etude.systems.phrase_ldm.phrases import Song, read_songs
from etude.systems.released_phrases.vae import ReleasedVae
from etude.systems.released_phrases.vocabulary import LONGEST, Translator

VERSION = 1  # raised when latents or statistics change

log = logging.getLogger(__name__)

WITHIN = 0.999
MOST_JUDGED = 4096  # texts of a split that are decoded and compared, from its beginning
POOR = 0.5  # F1 below which a warning is given


def write_latents(vae: ReleasedVae, packed: Path, translator: Translator, folder: Path) -> None:
    """Write all files of this module's head."""
    statistics: dict[str, Any] = {"fidelity": {}}
    for split in ("train", "valid", "test"):
        if not (packed / split).is_dir():
            continue
        texts = [
            song_texts(song, translator) for song in read_songs(packed, split, translator.tokenizer)
        ]
        flat = [text for song in texts for text in song]
        mean, log_variance = posteriors(vae, flat)
        lengths = torch.tensor([len(song) for song in texts], dtype=torch.long)
        content = {"mean": mean, "log_variance": log_variance, "lengths": lengths}
        save_file(content, folder / f"{split}.safetensors")
        if split == "train":
            statistics |= measured(mean)
        if flat:
            f1 = fidelity(vae, flat, mean, translator)
            statistics["fidelity"][split] = {"texts": len(flat), "f1": f1}
            tell = log.warning if f1 < POOR else log.info
            tell("%s: note F1 %.3f of %d phrases", split, f1, len(flat))
    write_json(folder / "statistics.json", statistics)


def song_texts(song: Song, translator: Translator) -> list[list[int]]:
    """The texts of a piece, four to a bar."""
    return list(translator.texts(song.bars))


def measured(latents: Tensor) -> dict[str, float]:
    """scale and percentile of latents [n, z].

    Example:
        >>> import torch
        >>> measured(torch.tensor([[1.0, -2.0], [-1.0, 2.0]]))["scale"]
        2.1213203435596424
    """
    values = latents.double()
    percentile = float(np.quantile(values.abs().numpy(), WITHIN)) if len(values) else 0.0
    scale = float(values.std(0).mean()) if len(values) > 1 else 0.0
    return {"scale": scale, "percentile": percentile}


def fidelity(
    vae: ReleasedVae, texts: Sequence[Sequence[int]], mean: Tensor, translator: Translator
) -> float:
    """F1 of the notes (onset and pitch) of texts, from the means of their latents."""
    judged = texts[:MOST_JUDGED]
    written = vae.decode(mean[: len(judged)], LONGEST - 1)
    notes = translator.tokenizer.phrase_notes
    pairs = [
        (notes(translator.ids([left])), notes(translator.ids([right])))
        for left, right in zip(judged, written, strict=True)
    ]
    return matches(pairs).f1
