"""What a system with learned words can be asked about each of them, for metrics of conditions.

A system whose settings class says `judges_concepts` has a method
`asked(experiment, parts, seed, settings) -> Iterator[ConceptQuery]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etude.systems.base import Parts, Wave


@dataclass(frozen=True)
class ConceptQuery:
    """A concept, ways of asking for it, and held-out music of it.

    Attributes:
        concept: its name.
        conditions: texts by what they are: `null` (none), `learned` (the word itself), and what
            it is compared with: `nearest`, `words`, `untrained`, `wrong`, ...
        pieces: of each held-out segment.
        nats: condition -> mean nats per token of each held-out segment, float64 [segments].
        clips: condition -> waves of clips that were generated so, from the codec. Of equal texts
            they are equal, of several concepts of one system too.
        real: split -> waves of real segments through the codec, float32 [samples].
        others: real segments of other sounds through the codec, by their names, to tell it from.
        pieces_of: split -> the piece of each wave of `real`.
        rate: samples per second of all waves.
        tokens: rows that the learned word stands for.
        description: the concept in plain words, for CLAP; empty: its name.
    """

    concept: str
    conditions: Mapping[str, str]
    pieces: Sequence[str]
    nats: Callable[[str], NDArray[np.float64]]
    clips: Callable[[str], Iterator[Wave]]
    real: Callable[[str], Iterator[Wave]]
    others: Mapping[str, Callable[[], Iterator[Wave]]]
    pieces_of: Mapping[str, Sequence[str]]
    rate: int
    tokens: int = 0
    description: str = ""


class QueryableSystem(Protocol):
    """A system of which concepts can be asked."""

    def asked(
        self, experiment: Any, parts: Parts, seed: int, settings: Any
    ) -> Iterator[ConceptQuery]:
        """Each concept of a trained experiment, one by one.

        Args:
            seed: of training, for first rows; clips are drawn with it too.
            settings: of etude.config.ConceptMetrics.
        """


class TextReader(Protocol):
    """Pretrained weights that make sound from text, before they are used: what their proof asks.

    A system whose stages can be such weights has `reader(weights, tokenizer) -> TextReader`, of
    their folder in results/pretrained/ and the fitted tokenizer of their tokens.
    """

    unit: str  # of `nats`, which of systems without a likelihood are errors

    @property
    def rate(self) -> int:
        """Samples per second of what it hears."""

    def nats(self, waves: Sequence[Wave], texts: Sequence[str]) -> NDArray[np.float64]:
        """Mean nats per token of clips of one length under texts -> [texts, clips]."""

    def by_own_codec(self, waves: Sequence[Wave]) -> list[Wave]:
        """Clips encoded by the tokenizer and decoded by the codec that came with the weights.

        Where there is no tokenizer between them, encoded by that codec too.
        """
