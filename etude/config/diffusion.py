"""Keys of whatever diffuses: the process, the sampler, and a transformer over bars of latents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from etude.config.base import Distinct, Section, fault

ScheduleKind = Literal["squared_cosine", "linear", "cosine", "flow"]
BarCondition = Literal["length", "key", "mode", "meter", "sections"]


class DiffusionProcess(Section):
    """What is between data and noise, and what of it the network learns."""

    schedule: ScheduleKind = Field(
        "squared_cosine",
        description="how noise grows: a table of `steps` (squared_cosine, linear), or continuous "
        "(cosine, flow: a straight line)",
    )
    steps: int = Field(1000, ge=25, description="levels of noise of a schedule that is a table")
    prediction: Literal["v", "epsilon", "x0"] = Field(
        "v", description="what the network predicts; epsilon fails in half precision"
    )
    masked: bool = Field(
        True, description="leave padding out of the loss; false: it is learned, as silence"
    )
    sample_posterior: bool = Field(
        True, description="draw each training latent from its posterior; false: take its mean"
    )


class Denoising(Section):
    """How latents are sampled."""

    solver: Literal["dpm", "ddim", "ddpm"] = Field(
        "dpm", description="dpm: DPM-Solver++(2M); ddpm wants hundreds of steps"
    )
    steps: int = Field(20, ge=1, description="evaluations of the network")
    spacing: Literal["trailing", "leading"] = Field(
        "trailing", description="of the steps' times; leading never sees the most noise"
    )
    eta: float = Field(0.0, ge=0, le=1, description="share of fresh noise in ddim")
    clip: Literal["percentile", "none"] | Annotated[float, Field(ge=2.5)] = Field(
        "percentile",
        description="estimates of the data are kept within this many deviations; percentile: where "
        "99.9 % of the training latents lie, 2.5 at least",
    )
    temperature: float = Field(
        1.0,
        ge=0,
        le=2,
        description="standard deviation of the noise; below 1 results are more typical and vary"
        " less",
    )
    guidance: float = Field(
        1.0, ge=0, le=20, description="how strongly conditions are followed; 1: as learned"
    )
    rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how much of the variance that guidance adds is removed, 0 to 1",
    )


class BarTransformer(Section):
    """A diffusion transformer over the bars of a piece."""

    dim: int = Field(128, ge=8, description="width")
    layers: int = Field(4, ge=1, description="transformer blocks")
    heads: int = Field(4, ge=1, description="attention heads")
    feed_forward: float = Field(2.0, gt=0, description="width of the feed-forward part / dim")
    activation: Literal["gelu", "swiglu"] = Field("gelu", description="in the feed-forward part")
    dropout: float = Field(0.0, ge=0, lt=1, description="in attention and feed-forward")
    token: Literal["bar", "phrase"] = Field(
        "bar", description="what one position is: a bar with all its slots, or one slot of a bar"
    )
    attention: Literal["whole", "alternate"] = Field(
        "whole",
        description="alternate (of phrases): within a bar and across bars of a slot, in turn",
    )
    longest: int = Field(
        128,
        ge=1,
        description="distance from either end, in bars, up to which bars are distinguished",
    )
    self_condition: bool = Field(
        False, description="the network is given its last estimate of the data (arXiv 2208.04202)"
    )
    twins: bool = Field(
        True, description="bars of the same place in a section are also given their mean"
    )
    section_heads: int = Field(
        0,
        ge=0,
        description="key heads by which positions attend to the sections as a sequence, in place "
        "of being told them bar by bar (the original: 8); must divide `heads`",
    )
    section_layers: int = Field(3, ge=1, description="layers over that sequence")
    conditions: Annotated[list[BarCondition], Distinct] = Field(
        ["length", "mode", "meter", "sections"], description="what the network is conditioned on"
    )
    drop_conditions: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of pieces for which a condition is dropped, and for which all are",
    )
    diffusion: DiffusionProcess = DiffusionProcess()

    @property
    def whole_bars(self) -> bool:
        """Whether a position is a bar with all its slots."""
        return self.token == "bar"  # noqa: S105

    @model_validator(mode="after")
    def _sizes_fit(self) -> BarTransformer:
        if self.dim % (2 * self.heads):
            raise fault(
                "heads-do-not-divide",
                f"dim: {self.dim} must be a multiple of 2 x heads ({2 * self.heads})",
            )
        if self.section_heads and self.heads % self.section_heads:
            raise fault(
                "heads-do-not-divide",
                f"section_heads: {self.section_heads} must divide heads ({self.heads})",
            )
        if self.attention == "alternate" and self.whole_bars:
            raise fault(
                "attention-without-phrases",
                "attention: alternate needs `token: phrase`: a bar is one position",
            )
        return self


class Crops(Section):
    """Which part of a piece is seen at once in training."""

    longest: int = Field(64, ge=1, description="bars; longer pieces are cropped at random")
    share: float = Field(0.0, ge=0, le=1, description="share of pieces cropped in any case")
    shortest: int = Field(4, ge=1, description="bars of the shortest crop in any case")
