"""The system `phrase_ldm`: phrases as latents of a VAE, whole pieces by diffusion over these."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, Tag, model_validator

from etude.config.base import Section, UserPath, chosen_by, merge
from etude.config.symbolic_tokens import SymbolicTokenSet
from etude.config.systems.base import (
    RIVALS_WITH_NOTES,
    GenerateSettings,
    StagePlan,
    StageSettings,
    TrainedExperiment,
    known,
)
from etude.config.systems.training import Training

if TYPE_CHECKING:
    from etude.config.whole import Config


class _EncoderDecoder(Section):
    """What both networks of phrases have; the sizes are small, the original's are in a preset."""

    dim: int = Field(96, ge=8, description="width")
    layers: int = Field(2, ge=1, description="layers of the encoder, and of the decoder")
    heads: int = Field(3, ge=1, description="attention heads")
    feed_forward: int | None = Field(
        None, ge=1, description="width of the feed-forward part (none: 2 x dim)"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in attention and feed-forward")
    queries: int = Field(4, ge=1, description="states of the encoder that a phrase becomes")
    latent: int = Field(16, ge=1, description="numbers of a phrase's latent")

    @property
    def inner(self) -> int:
        """Width of the feed-forward part."""
        return self.feed_forward or 2 * self.dim


class Rotary(_EncoderDecoder):
    """Pre-norm blocks with rotary positions."""

    kind: Literal["rotary"]

    @model_validator(mode="after")
    def _heads_divide(self) -> Rotary:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 x heads ({2 * self.heads})")
        return self


class T5(_EncoderDecoder):
    """T5's encoder and decoder, as the original has them."""

    kind: Literal["t5"]
    dim: int = Field(512, ge=8, description="width")
    layers: int = Field(3, ge=1, description="layers of the encoder, and of the decoder")
    heads: int = Field(6, ge=1, description="attention heads")
    head_dim: int = Field(64, ge=1, description="width of a head")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout everywhere")
    latent: int = Field(64, ge=1, description="numbers of a phrase's latent")


PhraseNetwork = Annotated[
    Annotated[Rotary, Tag("rotary")] | Annotated[T5, Tag("t5")], chosen_by("kind")
]


class PhraseTraining(Training):
    """How a stage is trained; counted in steps, never in seconds. 0 steps: it is not there."""

    steps: int = Field(0, ge=0, description="optimiser steps; 0: there is no such stage")

    @model_validator(mode="after")
    def _what_it_has_not(self) -> PhraseTraining:
        for key in ("forgetful_mask", "label_smoothing", "audition", "checkpoint_activations"):
            if getattr(self, key):
                raise ValueError(f"{key}: the stages of phrase_ldm have none")
        return self


class PhraseStage(StageSettings):
    """A stage that learns phrases."""

    network: PhraseNetwork = Rotary(kind="rotary")
    training: PhraseTraining = PhraseTraining()

    @property
    def there(self) -> bool:
        """Whether it is trained, or has weights from elsewhere."""
        return self.training.steps > 0 or self.weights is not None


class InfillStage(PhraseStage):
    """Stage 1: bars with gaps, and what stood there."""

    share: float = Field(0.3, gt=0, lt=1, description="share of tokens that are taken out")
    span: float = Field(3.0, gt=0, description="mean length of a gap in tokens (Poisson)")


class Kl(Section):
    """How strongly latents are drawn towards a normal distribution."""

    weight: float = Field(
        0.1,
        ge=0,
        description="of the KL divergence per number of the latent, beside the cross-entropy per "
        "token (the original: 0.01, with which normal latents decode to nonsense)",
    )
    start: float = Field(0.2, ge=0, le=1, description="share of the weight at the first step")
    warm_up: float = Field(0.5, ge=0, le=1, description="share of the steps until it is whole")


class VaeStage(PhraseStage):
    """Stage 3: phrases as latents and back."""

    kl: Kl = Kl()
    least_f1: float = Field(
        0.5,
        ge=0,
        le=1,
        description="F1 of notes (onset and pitch) that held-out phrases must keep through the "
        "latents; below it no latents are made, and the run ends with an error",
    )
