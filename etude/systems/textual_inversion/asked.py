"""What is asked about learned words: held-out pieces, clips, and what to compare them with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.clips.progress import silent
from etude.config.concepts import LEARNED, NULL
from etude.config.systems.textual_inversion import TextualInversion
from etude.corpus.captions import readable
from etude.systems.asked import Asked
from etude.systems.base import Parts, Wave
from etude.systems.musicgen.data import Codes, read_captions
from etude.systems.musicgen.player import MusicGenPlayer
from etude.systems.musicgen.texts import unknown_words
from etude.systems.textual_inversion.concepts import Concepts

VERSION = 2  # raised when the figures change

UNTRAINED = "untrained "  # before the name of a concept: its first rows
OTHERS = 48  # real segments of each other sound, for the classifier
NEAREST_BY = 64  # training segments by which the nearest known word is chosen


class Judged:
    """One concept of a trained experiment.

    Args:
        player: with the learned words, and each word's first rows as `untrained <name>`.
        model: the words beside their frozen base.
        settings: of etude.config.ConceptMetrics.
    """

    def __init__(
        self,
        experiment: TextualInversion,
        parts: Parts,
        player: MusicGenPlayer,
        model: Concepts,
        concept: str,
        settings: Any,
        seed: int,
    ) -> None:
        self.experiment, self.parts, self.player = experiment, parts, player
        self.model, self.concept, self.settings, self.seed = model, concept, settings, seed
        self.captions = read_captions(parts.captions)
        self.template = experiment.templates.test[0]

    def asked(self) -> Asked:
        """As metrics take it."""
        test, train = self._codes("test"), self._codes("train")
        held_out = spread(len(test), self.settings.segments)
        others = sorted({row["concept"] for row in self.captions.values()} - {self.concept, ""})
        by_split = {"test": (test, held_out), "train": (train, spread(len(train), 128))}
        return Asked(
            concept=self.concept,
            conditions=self.conditions(train),
            pieces=[test.pieces[i] for i in held_out],
            nats=lambda condition: self.nats(test, held_out, condition),
            clips=self.clips,
            real=lambda split: self.decoded(*by_split[split]),
            others={name: partial(self._other, name) for name in others},
            pieces_of={s: [codes.pieces[i] for i in rows] for s, (codes, rows) in by_split.items()},
            rate=self.player.rate,
            tokens=len(self.player.concepts[self.concept]),
            description=self._description(),
        )

    def _description(self) -> str:
        """What most of the concept's captions say, or its name."""
        of = (row["caption"] for row in self.captions.values() if row["concept"] == self.concept)
        counts = Counter(caption for caption in of if caption)
        return max(sorted(counts), key=counts.__getitem__, default=readable(self.concept))

    def conditions(self, train: Codes) -> dict[str, str]:
        """Texts by what they are; those that are not there are left out."""
        found = {NULL: ""}
        name = readable(self.concept)
        tokenizer = self.model.base.tokenizer
        known = [w for w in self.model.base.shape.get("known", []) if w != name]
        if known:
            found["nearest"] = self._nearest(known, train)
        if not unknown_words(name, tokenizer):
            found["words"] = self._said(name)
        found["untrained"] = self._said(f"<{UNTRAINED}{self.concept}>")
        others = [other for other in self.model.names if other != self.concept]
        if others:
            found["wrong"] = self._said(f"<{others[0]}>")
        found[LEARNED] = self._said(f"<{self.concept}>")
        self._texts = found
        return found

    def _said(self, word: str) -> str:
        return self.template.replace("{}", word)

    def _nearest(self, known: list[str], train: Codes) -> str:
        """Of the words that the base knows, that under which training segments are likeliest."""
        rows = spread(len(train), NEAREST_BY)
        losses = [self._nats(train, rows, self._said(word)).mean() for word in known]
        return self._said(known[int(np.argmin(losses))])

    def nats(self, codes: Codes, rows: list[int], condition: str) -> NDArray[np.float64]:
        """Mean nats per token of segments under a condition [segments]."""
        return self._nats(codes, rows, self._texts[condition])

    @torch.inference_mode()
    def _nats(self, codes: Codes, rows: list[int], text: str) -> NDArray[np.float64]:
        size, found = self.experiment.generate.batch_size, [np.zeros(0)]
        device = self.player.model.device
        for start in range(0, len(rows), size):
            part = codes.codes(rows[start : start + size]).to(device)
            nats = self.model.nats(part, [text] * len(part), self.player.concepts)
            found.append(nats.double().mean(1).cpu().numpy())
        return np.concatenate(found)

    def clips(self, condition: str) -> Iterator[Wave]:
        """Clips that are asked for so; all conditions are drawn with the same random streams."""
        how, text = self.experiment.generate, self._texts[condition]
        for start in range(0, self.settings.clips, how.batch_size):
            numbers = range(start, min(start + how.batch_size, self.settings.clips))
            sample = self.player.sample
            codes = sample(how, [text] * len(numbers), how.seconds, self.seed, numbers, silent)
            yield from self.player.decode(codes, how.seconds)

    def decoded(self, codes: Codes, rows: list[int]) -> Iterator[Wave]:
        """Real segments through the codec, as long as the clips where they are that long."""
        for start in range(0, len(rows), 16):
            wanted = codes.codes(rows[start : start + 16])
            whole = wanted.shape[2] / self.player.acoustic.frame_rate
            yield from self.player.decode(wanted, min(self.experiment.generate.seconds, whole))

    def _codes(self, split: str, concept: str = "") -> Codes:
        assert self.parts.packed is not None
        quantizers = self.parts.info["quantizers"]
        of = [concept or self.concept]
        return Codes(self.parts.packed / split, quantizers, self.captions, of=of)

    def _other(self, name: str) -> Iterator[Wave]:
        codes = self._codes("train", name)
        return self.decoded(codes, spread(len(codes), OTHERS))


def spread(count: int, most: int) -> list[int]:
    """At most so many numbers below a count, evenly over it."""
    chosen: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return chosen if count else []


def with_untrained(words: dict[str, Tensor], first: dict[str, Tensor]) -> dict[str, Tensor]:
    """Learned words, and the rows that they began with under names of their own."""
    return words | {f"{UNTRAINED}{name}": rows for name, rows in first.items()}
