"""Keys of what learns phrases: an encoder and a decoder, and the weight of their KL divergence."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from etude.config.base import Section, chosen_by, fault


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
    latent: int = Field(16, ge=1, description="length of a phrase's latent")
    context: Literal["notes", "bar", "none"] = Field(
        "notes",
        description="what the VAE decodes a phrase from, besides its latent: its slot, the latents "
        "of the bar's other slots and the notes of those before it (notes), the slot and the "
        "latents only (bar), or nothing (as the original)",
    )
    bar_layers: int = Field(
        0,
        ge=0,
        description="layers in which the phrases of a bar attend to each other before they "
        "become latents; 0: each phrase alone, as in the original",
    )

    @model_validator(mode="after")
    def _bars_are_there(self) -> Self:
        if self.bar_layers and self.context == "none":
            raise fault(
                "bar-layers-without-context",
                "bar_layers: without `context` phrases do not come bar by bar; make it 0",
            )
        return self

    @property
    def inner(self) -> int:
        """Width of the feed-forward part."""
        return self.feed_forward or 2 * self.dim


class Rotary(_EncoderDecoder):
    """Pre-norm blocks with rotary positions."""

    kind: Literal["rotary"]
    bar_layers: int = Field(1, ge=0, description="as for `t5`, whose default is 0")

    @model_validator(mode="after")
    def _heads_divide(self) -> Rotary:
        if self.dim % (2 * self.heads):
            raise fault(
                "heads-do-not-divide",
                f"dim: {self.dim} must be a multiple of 2 x heads ({2 * self.heads})",
            )
        return self


class T5(_EncoderDecoder):
    """T5's encoder and decoder, as the original has them."""

    kind: Literal["t5"]
    dim: int = Field(512, ge=8, description="width")
    layers: int = Field(3, ge=1, description="layers of the encoder, and of the decoder")
    heads: int = Field(6, ge=1, description="attention heads")
    head_dim: int = Field(64, ge=1, description="width of a head")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout everywhere")
    latent: int = Field(64, ge=1, description="length of a phrase's latent")
    context: Literal["notes", "bar", "none"] = Field(
        "none", description="as for `rotary`; the original has none"
    )


PhraseNetwork = Annotated[
    Annotated[Rotary, Tag("rotary")] | Annotated[T5, Tag("t5")], chosen_by("kind")
]


class Kl(Section):
    """How strongly latents are drawn towards a normal distribution."""

    weight: float = Field(
        0.04,
        ge=0,
        description="weight of the KL divergence per dimension of the latent, relative to the "
        "cross-entropy per token (the original: 0.01, with which random latents "
        "decode to nonsense)",
    )
    start: float = Field(0.2, ge=0, le=1, description="share of the weight at the first step")
    warm_up: float = Field(
        0.5, ge=0, le=1, description="share of the steps after which the weight is reached"
    )
