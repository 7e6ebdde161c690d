"""The system `toy_latents`: notes by diffusion over the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from etude.config.base import Section
from etude.config.symbolic_tokens import SymbolicTokenSet
from etude.config.systems.base import (
    RIVALS_WITH_NOTES,
    StageSettings,
    TrainedExperiment,
    known,
)

if TYPE_CHECKING:
    from etude.config.whole import Config


class Stages(Section):
    """What is trained."""

    vae: StageSettings = Field(StageSettings(), description="tokens -> latents and back")
    prior: StageSettings = Field(StageSettings(), description="noise -> latents")


class ToyLatents(TrainedExperiment):
    """Windows of notes as latents, and a flow from noise to these."""

    makes: ClassVar[frozenset[str]] = frozenset({"audio", "notes"})
    conditions: ClassVar[frozenset[str]] = frozenset({"length"})
    latent_space: ClassVar[bool] = True
    rivals: ClassVar[tuple[str, ...]] = ("untrained", *RIVALS_WITH_NOTES)
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "held-out windows as tokens, played by the corpus's renderer",
        "untrained": "the networks before training",
    }
    modules: ClassVar[Mapping[str, str]] = {"toy_latents.system": "systems/toy_latents/system"}
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": ("toy_latents.system",),
        "train": ("toy_latents.system", "loop", "steps"),
        "encode": ("toy_latents.system",),
        "generate": ("toy_latents.system", "sampling", "clips", "render", "midi_writing"),
        "baselines": (
            *("toy_latents.system", "sampling", "clips", "baselines", "render", "midi_writing"),
        ),
    }
    stage_needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"prior": ("vae",)}
    stage_encodes: ClassVar[tuple[str, ...]] = ("vae",)

    system: Literal["toy_latents"]
    cut: str = Field("two_seconds", description="a name from `cuts`: what clips are compared with")
    stages: Stages = Stages()

    def cut_name(self, config: Config) -> str:
        return self.cut

    def check(self, where: str, config: Config) -> None:
        known(self.cut, config.cuts, f"{where}.cut", "cuts")
        if not isinstance(config.tokens[self.tokens], SymbolicTokenSet):
            raise ValueError(f"{where}.tokens: {self.tokens!r} is of audio")  # noqa: TRY004

    def positions(self, config: Config) -> float:
        windows = sum(plan.settings.training.items_seen for plan in self.stage_plans())
        return float(windows * getattr(config.tokens[self.tokens], "window", 0))
