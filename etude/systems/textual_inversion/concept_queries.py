"""What is asked about learned words, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from etude.config.concepts import LEARNED, NULL
from etude.config.systems.textual_inversion import TextualInversion
from etude.corpus.captions import readable
from etude.systems.base import Parts
from etude.systems.concept_queries import ConceptQuery
from etude.systems.musicgen.concept_queries import ConceptSound, spread
from etude.systems.musicgen.data import Codes
from etude.systems.musicgen.player import MusicGenPlayer
from etude.systems.musicgen.texts import unknown_words

VERSION = 3  # raised when the figures change

UNTRAINED = "untrained "  # before the name of a concept: its first rows
NEAREST_BY = 32  # training segments by which the nearest known word is chosen


class LearnedConcept(ConceptSound):
    """One concept of a trained experiment, beside its first rows and the `others`' words."""

    others: Sequence[str] = ()

    def conditions(self, train: Codes) -> dict[str, str]:  # noqa: D102
        found = {NULL: ""}
        model, name = self.player.model, readable(self.concept)
        known = [word for word in model.shape.get("known", []) if word != name]
        if known:
            found["nearest"] = self._nearest(known, train)
        if not unknown_words(name, model.tokenizer):
            found["words"] = self.sentence(name)
        found["untrained"] = self.sentence(f"<{UNTRAINED}{self.concept}>")
        if self.others:
            found["wrong"] = self.sentence(f"<{self.others[0]}>")
        found[LEARNED] = self.sentence(f"<{self.concept}>")
        return found

    def _nearest(self, known: list[str], train: Codes) -> str:
        """Of the words that the base knows, that under which training segments are likeliest."""
        rows = spread(len(train), NEAREST_BY)
        losses = [self.nats(train, rows, self.sentence(word)).mean() for word in known]
        return self.sentence(known[int(np.argmin(losses))])


def learned_words(
    experiment: TextualInversion, parts: Parts, player: MusicGenPlayer, settings: Any, seed: int
) -> Iterator[ConceptQuery]:
    """Each concept of a trained experiment.

    Args:
        player: with the learned words, and each word's first rows (`with_untrained`).
    """
    for name in experiment.concepts:
        template = experiment.templates.test[0]
        concept = LearnedConcept(experiment, parts, player, name, template, settings, seed)
        concept.others = [other for other in experiment.concepts if other != name]
        concept.tokens = len(player.concepts[name])
        yield concept.asked()


def with_untrained(words: dict[str, Tensor], first: dict[str, Tensor]) -> dict[str, Tensor]:
    """Learned words, and the rows that they began with under names of their own."""
    return words | {f"{UNTRAINED}{name}": rows for name, rows in first.items()}
