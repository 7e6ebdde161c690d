"""Segments of codes with their captions, as batches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from etude.config.systems.musicgen import MusicGen
from etude.errors import UserError
from etude.storage import read_csv
from etude.systems.base import Batch, Parts
from etude.systems.musicgen.texts import parts_of_text

VERSION = 1  # raised when steps see other tokens or texts

MOST_KNOWN = 200  # words among which the nearest to a sound is looked for

Row = dict[str, str]


def read_captions(path: Path | None) -> dict[str, Row]:
    """Rows of captions.csv by piece."""
    return {row["piece"]: row for row in read_csv(path)} if path is not None else {}


def texts_that_are_read(experiment: MusicGen, parts: Parts) -> list[str]:
    """All that the text tokenizer must know: captions, names of concepts, templates."""
    rows = read_captions(parts.captions).values()
    concepts = {row["concept"].replace("_", " ") for row in rows}
    templates = [template.replace("{}", " ") for template in experiment.templates]
    return [*(row["caption"] for row in rows), *concepts, *templates]


def known_words(experiment: MusicGen, parts: Parts) -> list[str]:
    """The first part of each caption that is learned, each once: what sounds are called."""
    rows = read_captions(parts.captions).values()
    learned = (row["caption"] for row in rows if row["concept"] not in experiment.leave_out)
    return sorted({caption.split(", ")[0] for caption in learned} - {""})[:MOST_KNOWN]


class Codes:
    """The segments of a split that belong to some pieces, read from disk as they are asked for.

    Args:
        folder: a split's folder of a packed token set.
        quantizers: rows of each item's codes.
        without, of: concepts whose pieces are left out, or that all pieces must belong to.
        items: at most this many, the first.
    """

    def __init__(
        self,
        folder: Path,
        quantizers: int,
        captions: dict[str, Row],
        *,
        without: Collection[str] = (),
        of: Collection[str] | None = None,
        items: int | None = None,
    ) -> None:
        import datasets

        self.quantizers = quantizers
        dataset = datasets.load_from_disk(str(folder))
        pieces = dataset["piece"] if len(dataset) else []

        def wanted(piece: str) -> bool:
            concept = captions.get(piece, {}).get("concept", "")
            return concept not in without and (of is None or concept in of)

        self.rows = [number for number, piece in enumerate(pieces) if wanted(piece)][:items]
        self.pieces = [pieces[number] for number in self.rows]
        self._dataset = dataset.with_format("numpy", columns=["acoustic"])

    def __len__(self) -> int:
        return len(self.rows)

    def codes(self, indices: Sequence[int]) -> Tensor:
        """Codes of these items [B, quantizers, frames]."""
        rows = self._dataset[[self.rows[index] for index in indices]]
        found = torch.from_numpy(np.stack(rows["acoustic"]).astype(np.int64))
        return found.view(len(indices), self.quantizers, -1)


class Captioned:
    """Segments with their captions: whole for validation, in part and in templates for training.

    Args:
        varied: whether captions lose parts, are put into templates, and are left out.
    """

    def __init__(
        self,
        codes: Codes,
        captions: dict[str, Row],
        tokenizer: Tokenizer,
        experiment: MusicGen,
        *,
        varied: bool,
    ) -> None:
        self.codes, self.tokenizer, self.experiment = codes, tokenizer, experiment
        self.captions = [captions.get(piece, {}).get("caption", "") for piece in codes.pieces]
        self.varied = varied

    def __len__(self) -> int:
        return len(self.codes)

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """codes [B, K, T]; ids and mask [B, L] of texts."""
        texts = [self.captions[index] for index in indices]
        if self.varied and places is not None:
            pairs = zip(texts, places, strict=True)
            texts = [vary(text, float(place), self.experiment) for text, place in pairs]
        return {"codes": self.codes.codes(indices)} | as_ids(texts, self.tokenizer)


def vary(caption: str, place: float, experiment: MusicGen) -> str:
    """A caption as it is read once.

    Args:
        place: a random number in [0, 1) that decides everything.
    """
    generator = np.random.default_rng(int(place * 2**53))
    if not caption or generator.random() < experiment.without_text:
        return ""
    parts = caption.split(", ")
    kept = [part for part in parts if generator.random() >= experiment.without_word]
    text = ", ".join(kept or [parts[generator.integers(len(parts))]])
    template = experiment.templates[generator.integers(len(experiment.templates))]
    return template.replace("{}", text)


def as_ids(texts: Sequence[str], tokenizer: Tokenizer) -> dict[str, Tensor]:
    """Texts without learned words as `ids` and `mask`, long [B, L]."""
    found = [[i for part in parts_of_text(t, tokenizer, {}) for i in part.ids] for t in texts]
    length = max(1, *map(len, found)) if found else 1
    ids = torch.zeros(len(found), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, numbers in enumerate(found):
        ids[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.long)
        mask[row, : len(numbers)] = 1
    return {"ids": ids, "mask": mask}


def splits_of(experiment: MusicGen, parts: Parts, items: int | None) -> tuple[Codes, Codes]:
    """Training and validation segments, without the concepts that are left out.

    Raises:
        UserError: a concept that is left out is not in the corpus, or nothing else is there.
    """
    assert parts.packed is not None
    captions = read_captions(parts.captions)
    check_concepts(experiment.leave_out, captions, parts.captions, "leave_out")
    how: dict[str, Any] = {"captions": captions, "without": experiment.leave_out}
    quantizers = parts.info["quantizers"]
    train = Codes(parts.packed / "train", quantizers, **how, items=items)
    if not len(train):
        raise UserError(
            "nothing is left to train on",
            where="leave_out",
            why=f"all pieces belong to the concepts that are left out: {experiment.leave_out}",
            do="leave out fewer of them",
        )
    return train, Codes(parts.packed / "valid", quantizers, **how)


def check_concepts(
    names: Collection[str], captions: dict[str, Row], table: Path | None, key: str
) -> None:
    """See that concepts are in the corpus.

    Raises:
        UserError: naming those that are.
    """
    there = sorted({row["concept"] for row in captions.values()} - {""})
    if missing := [name for name in names if name not in there]:
        raise UserError(
            f"the corpus has no concept {missing[0]!r}",
            where=f"{key}; {table}",
            why=f"concepts are its top folders: {', '.join(there) or 'it has none'}",
            do="correct the name, or put the recordings into a folder of that name",
        )
