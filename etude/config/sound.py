"""Networks of sound from text by latent diffusion, and what is adapted of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from etude.config.base import Distinct, Section, fault

HEAD = 64  # width of an attention head, as in Stable Audio Open
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TARGETS = (*ATTENTION, "ff.net.0.proj", "ff.net.2")


class Latents(Section):
    """How sound becomes latents where no pretrained autoencoder is named: by the codec's PCA."""

    components: int = Field(
        48, ge=2, description="values per frame: the first of the acoustic tokenizer's PCA"
    )


class SoundTransformer(Section):
    """A text encoder (T5) and a diffusion transformer: Stable Audio Open's classes, made small."""

    layers: int = Field(4, ge=1, description="transformer blocks")
    heads: int = Field(2, ge=1, description=f"attention heads, each {HEAD} wide")
    key_heads: int = Field(1, ge=1, description="heads of keys and values; must divide `heads`")
    text_dim: int = Field(64, ge=8, multiple_of=4, description="width of the text encoder")
    text_layers: int = Field(1, ge=1, description="layers of the text encoder, of four heads each")
    text_length: int = Field(24, ge=4, le=512, description="tokens of a text; the rest is cut off")
    spare_words: int = Field(
        256, ge=1, description="rows for words that come later, with the captions of an adaptation"
    )
    time_dim: int = Field(128, ge=8, multiple_of=2, description="length of the vector for the time")
    longest: float = Field(
        120.0, gt=0, description="seconds of start and total that are told apart; more are alike"
    )
    schedule: Literal["cosine", "flow"] = Field(
        "cosine", description="how noise grows; flow: on a straight line"
    )
    masked: bool = Field(
        False, description="what comes after the end is not learned; false: it is, as silence"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> SoundTransformer:
        if self.heads % self.key_heads:
            raise fault(
                "heads-do-not-divide",
                f"key_heads: {self.key_heads} must divide heads ({self.heads})",
            )
        return self


class Adaptation(Section):
    """What is learned on top of a base."""

    kind: Literal["full", "lora"] = Field(
        "full", description="full: all weights; lora: an adapter, the base stays bit for bit"
    )
    rank: int = Field(8, ge=1, description="of each adapter")
    scale: float = Field(1.0, gt=0, description="what its output is multiplied by (alpha / rank)")
    dropout: float = Field(0.0, ge=0, lt=1, description="before the adapters")
    targets: Annotated[list[str], Distinct] = Field(
        list(TARGETS),
        min_length=1,
        description="linear layers of the transformer that get one, by the ends of their names; "
        "global_proj.0 and global_proj.2 are those of the seconds",
    )
    exclude: Annotated[list[str], Distinct] = Field(
        [], description="layers that get none, by a part of their names, as in transformer_blocks.0"
    )
    replay: float = Field(
        0.25,
        ge=0,
        lt=1,
        description="share of training items that come from the base's own corpus, against "
        "forgetting it",
    )
