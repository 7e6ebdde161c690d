"""What is asked about words: held-out pieces, clips, and what to compare them with.

Of a base here: sounds whose words it has learned from captions. What these are worth is the ceiling
of words that are taught to it later (`textual_inversion.asked`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etude.clips.progress import silent
from etude.config.concepts import LEARNED, NULL
from etude.corpus.captions import readable
from etude.systems.base import Parts, Wave
from etude.systems.concept_queries import ConceptQuery
from etude.systems.musicgen.data import Codes, read_captions
from etude.systems.musicgen.player import MusicGenPlayer

VERSION = 1  # raised when the figures change

OTHERS = 32  # real segments of each other sound, for the classifier
TRAINING = 64  # real segments of the concept, which it is learned from


class ConceptSound(ABC):
    """A sound and the word for it.

    Args:
        player: with all words that `conditions` name.
        template: the sentence that words stand in; {} is the word.
        settings: of etude.config.ConceptMetrics.
        seed: clips are drawn with it.
    """

    tokens = 0  # rows that the word stands for, where it was learned as rows

    def __init__(
        self,
        experiment: Any,
        parts: Parts,
        player: MusicGenPlayer,
        concept: str,
        template: str,
        settings: Any,
        seed: int,
    ) -> None:
        self.experiment, self.parts, self.player = experiment, parts, player
        self.concept, self.template = concept, template
        self.settings, self.seed = settings, seed
        self.captions = read_captions(parts.captions)

    @abstractmethod
    def conditions(self, train: Codes) -> dict[str, str]:
        """Texts by what they are; those that are not there are left out."""

    def asked(self) -> ConceptQuery:
        """As metrics take it."""
        test, train = self._codes("test"), self._codes("train")
        held_out = spread(len(test), self.settings.segments)
        others = sorted({row["concept"] for row in self.captions.values()} - {self.concept, ""})
        by_split = {"test": (test, held_out), "train": (train, spread(len(train), TRAINING))}
        texts = self.conditions(train)
        return ConceptQuery(
            concept=self.concept,
            conditions=texts,
            pieces=[test.pieces[i] for i in held_out],
            nats=lambda condition: self.nats(test, held_out, texts[condition]),
            clips=lambda condition: self.clips(texts[condition]),
            real=lambda split: self.decoded(*by_split[split]),
            others={name: partial(self._other, name) for name in others},
            pieces_of={s: [codes.pieces[i] for i in rows] for s, (codes, rows) in by_split.items()},
            rate=self.player.rate,
            tokens=self.tokens,
            description=self._description(),
        )

    def _description(self) -> str:
        """What most of the concept's captions say, or its name."""
        of = (row["caption"] for row in self.captions.values() if row["concept"] == self.concept)
        counts = Counter(caption for caption in of if caption)
        return max(sorted(counts), key=counts.__getitem__, default=readable(self.concept))

    def sentence(self, word: str) -> str:
        """The text that asks for a word."""
        return self.template.replace("{}", word)

    @torch.inference_mode()
    def nats(self, codes: Codes, rows: list[int], text: str) -> NDArray[np.float64]:
        """Mean nats per token of segments after a text [segments]."""
        size, found = self.experiment.generate.batch_size, [np.zeros(0)]
        model, words = self.player.model, self.player.concepts
        for start in range(0, len(rows), size):
            part = codes.codes(rows[start : start + size]).to(model.device)
            nats = model.nats(part, [text] * len(part), words)
            found.append(nats.double().mean(1).cpu().numpy())
        return np.concatenate(found)

    def clips(self, text: str) -> Iterator[Wave]:
        """Clips that are asked for so; all texts are drawn with the same random streams."""
        how = self.experiment.generate
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


class Known(ConceptSound):
    """A sound that a base has learned the word for; `other` is the word for another one."""

    other = ""

    def conditions(self, train: Codes) -> dict[str, str]:  # noqa: D102
        texts = {NULL: ""}
        if self.other:
            texts["wrong"] = self.sentence(readable(self.other))
        return texts | {LEARNED: self.sentence(readable(self.concept))}


def known_sounds(
    experiment: Any, parts: Parts, player: MusicGenPlayer, settings: Any, seed: int
) -> Iterator[ConceptQuery]:
    """Sounds (folders of the corpus) whose names a base has learned, at most `settings.known`.

    Those with the most held-out pieces, since pieces are the units of what is measured.
    """
    assert parts.packed is not None
    words = set(player.model.shape.get("known", []))
    captions = read_captions(parts.captions)
    held_out = set(Codes(parts.packed / "test", parts.info["quantizers"], captions).pieces)
    pieces = Counter(captions[piece]["concept"] for piece in held_out if piece in captions)
    names = [n for n in sorted(pieces) if readable(n) in words and n not in experiment.leave_out]
    chosen = sorted(names, key=pieces.__getitem__, reverse=True)[: settings.known]
    template = experiment.templates[0]
    for number, name in enumerate(chosen):
        sound = Known(experiment, parts, player, name, template, settings, seed)
        sound.other = chosen[(number + 1) % len(chosen)] if len(chosen) > 1 else ""
        yield sound.asked()


def spread(count: int, most: int) -> list[int]:
    """At most this many numbers below a count, evenly over it."""
    chosen: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return chosen if count else []
