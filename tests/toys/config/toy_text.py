"""The system `toy_text`: the codec's tokens, frame by frame, from a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from etude.config.base import Section
from etude.config.systems.base import GenerateSettings, StageSettings, TrainedExperiment

if TYPE_CHECKING:
    from etude.config.whole import Config


class Stages(Section):
    """What is trained."""

    words: StageSettings = Field(StageSettings(), description="text -> tokens")


class Generate(GenerateSettings):
    """The clips that are generated."""

    conditions: ClassVar[tuple[str, ...]] = ("text",)

    text: str = Field("", description="what clips are to sound like")


class ToyText(TrainedExperiment):
    """Sound from a text; it learns from the names of pieces."""

    conditions: ClassVar[frozenset[str]] = frozenset({"text", "length"})
    sets: ClassVar[Mapping[str, str]] = {
        "shuffled": "frames of real music in random order",
        "untrained": "the network before training",
    }
    modules: ClassVar[Mapping[str, str]] = {"toy_text.system": "systems/toy_text/system"}
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": ("toy_text.system",),
        "train": ("toy_text.system", "loop", "steps"),
        "generate": ("toy_text.system", "sampling", "clips"),
        "baselines": ("toy_text.system", "sampling", "clips", "baselines"),
    }

    system: Literal["toy_text"]
    tokens: str = Field("embedded", description="a token set of audio from `tokens`")
    stages: Stages = Stages()
    generate: Generate = Generate()

    def positions(self, config: Config) -> float:
        """Frames that the training predicts, at 40 a second."""
        seconds = config.cuts[self.cut_name(config)].seconds
        return self.stages.words.training.items_seen * 40 * seconds
