"""Segments of concepts, each with the sentence that it is learned or judged in."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from etude.config.systems.textual_inversion import TextualInversion
from etude.errors import UserError
from etude.systems.base import Batch, Parts
from etude.systems.musicgen.data import Codes, check_concepts, read_captions

VERSION = 1  # raised when steps see other tokens or sentences

FEW = 8  # training segments of a concept below which there is a warning
log = logging.getLogger(__name__)


class Spoken:
    """Segments of some concepts.

    Args:
        templates: how many sentences there are; by chance where `places` are given for training,
            in turn where not.
    """

    def __init__(self, codes: Codes, concepts: list[int], templates: int, varied: bool) -> None:
        self.codes, self.concepts = codes, torch.tensor(concepts, dtype=torch.long)
        self.templates, self.varied = templates, varied

    def __len__(self) -> int:
        return len(self.codes)

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """codes [B, K, T]; concept, template, item and order, long [B]."""
        items = torch.tensor(indices, dtype=torch.long)
        template, order = items % self.templates, torch.zeros_like(items)
        if self.varied and places is not None:
            chance = torch.from_numpy(np.asarray(places, np.float64))
            template = (chance * self.templates).long()
            order = (chance * 2**52).long()
        return {
            "codes": self.codes.codes(indices),
            "concept": self.concepts[items],
            "template": template,
            "item": items,
            "order": order,
        }


def splits_of(experiment: TextualInversion, parts: Parts) -> tuple[Spoken, Spoken]:
    """Training and validation segments of the concepts.

    Raises:
        UserError: a concept is not in the corpus, or has nothing to learn from.
    """
    items = experiment.stage("concept").training.train_items
    train = segments(experiment, parts, "train", varied=True, items=items)
    valid = segments(experiment, parts, "valid", varied=False)
    for number, name in enumerate(experiment.concepts):
        learned, judged = (int((data.concepts == number).sum()) for data in (train, valid))
        if not learned:
            raise UserError(
                f"the concept {name!r} has nothing to learn from",
                code="nothing-to-train-on",
                where=str(parts.packed),
                why="no segment of it is in the training split: too short, silent, the same as "
                "another recording, or all of it on another side",
                do="bring more recordings, cut them shorter (`cuts`), or name sides in the column "
                "`split` of metadata.csv; the reasons are in the cut's index.csv and pieces.csv",
            )
        if learned < FEW:
            log.warning("the concept %r has %d segments to learn from", name, learned)
        if not judged:
            log.warning("the concept %r has no validation segments to choose a step by", name)
    return train, valid


def segments(
    experiment: TextualInversion,
    parts: Parts,
    split: str,
    *,
    varied: bool,
    items: int | None = None,
) -> Spoken:
    """The segments of the concepts that a split has."""
    assert parts.packed is not None
    captions = read_captions(parts.captions)
    check_concepts(experiment.concepts, captions, parts.captions, "concepts")
    how: dict[str, Any] = {"of": experiment.concepts, "items": items}
    codes = Codes(parts.packed / split, parts.info["quantizers"], captions, **how)
    numbers = {name: number for number, name in enumerate(experiment.concepts)}
    concepts = [numbers[captions[piece]["concept"]] for piece in codes.pieces]
    templates = experiment.templates.train if varied else experiment.templates.test
    return Spoken(codes, concepts, len(templates), varied)
