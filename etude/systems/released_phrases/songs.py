"""Packed pieces as the released networks have songs: texts, their latents, and how true these are.

{split}.safetensors
    mean, log_variance   float32 [texts of all pieces, z]: four to a bar
    lengths              int64 [pieces]: texts; in metadata the pieces' names
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

from torch import Tensor

from etude.diffusion.latent_files import measured, save_split
from etude.storage import write_json
from etude.systems.phrase_ldm.fidelity import matches
from etude.systems.phrase_ldm.latents import posteriors
from etude.systems.phrase_ldm.phrases import read_songs
from etude.systems.released_phrases.vae import ReleasedVae
from etude.systems.released_phrases.vocabulary import LONGEST, Translator

VERSION = 1  # raised when latents or statistics change

log = logging.getLogger(__name__)

MOST_JUDGED = 4096  # texts of a split that are decoded and compared, from its beginning
POOR = 0.5  # F1 below which a warning is given


def write_latents(vae: ReleasedVae, packed: Path, translator: Translator, folder: Path) -> None:
    """Write all files of this module's head."""
    statistics: dict[str, Any] = {"fidelity": {}}
    for split in ("train", "valid", "test"):
        if not (packed / split).is_dir():
            continue
        songs = read_songs(packed, split, translator.tokenizer)
        texts = [list(translator.texts(song.bars)) for song in songs]
        flat = [text for song in texts for text in song]
        mean, log_variance = posteriors(vae, flat)
        names = [song.piece for song in songs]
        both = {"mean": mean, "log_variance": log_variance}
        save_split(folder, split, names, map(len, texts), both)
        if split == "train":
            statistics |= measured(mean)
        if flat:
            f1 = fidelity(vae, flat, mean, translator)
            statistics["fidelity"][split] = {"texts": len(flat), "f1": f1}
            tell = log.warning if f1 < POOR else log.info
            tell("%s: note F1 %.3f of %d phrases", split, f1, len(flat))
    write_json(folder / "statistics.json", statistics)


def fidelity(
    vae: ReleasedVae, texts: Sequence[Sequence[int]], mean: Tensor, translator: Translator
) -> float:
    """F1 of the notes (onset and pitch) of texts, from the means of their latents."""
    judged = texts[:MOST_JUDGED]
    written = vae.decode(mean[: len(judged)], LONGEST - 1)
    pairs = [
        (notes_of(left, translator), notes_of(right, translator))
        for left, right in zip(judged, written, strict=True)
    ]
    return matches(pairs).f1


def notes_of(text: Sequence[int], translator: Translator) -> list[tuple[int, ...]]:
    """The notes of a text, and of one that should have been one bar's also what lies behind."""
    notes = translator.tokenizer.phrase_notes
    return [
        note for bar in translator.read([text]) for phrase in bar.phrases for note in notes(phrase)
    ]
