"""Metrics of clips that have notes: how they are measured and compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from etude.config.base import Section


class Word2Vec(Section):
    """Vectors for harmonic words, learnt from the training split; the defaults are Neuromusic's."""

    dim: int = Field(100, ge=1, le=1000, description="length of a vector")
    window: int = Field(4, ge=1, description="bars on either side that are a word's context")
    least: int = Field(2, ge=1, description="a rarer word has no vector")
    epochs: int = Field(5, ge=1, description="passes over the pieces")
    pieces: int = Field(4000, ge=1, description="training pieces, at most")
    seconds: float = Field(180.0, gt=0, description="seconds of a piece, at most")
    seed: int = Field(0, ge=0, description="initial vectors")


class SymbolicMetrics(Section):
    """Metrics of clips that have notes (.mid)."""

    smoothing: Literal["jeffreys", "laplace"] = Field(
        "jeffreys", description="what is added to each bin of a histogram: 1/2 or 1"
    )
    compat: Literal["none", "neuromusic", "phraseldm"] = Field(
        "none",
        description="neuromusic, phraseldm: the original's own figures, its defects included "
        "(docs/decisions.md; phraseldm: the Fréchet distance of latents); to compare with its "
        "tables only",
    )
    clips: int = Field(
        200, ge=2, description="clips of a set that are measured, the first ones, at most"
    )
    harmony_clips: int = Field(
        32, ge=1, description="of those, clips whose harmony is reduced (the slow part)"
    )
    form_bars: int = Field(
        16,
        ge=8,
        le=1024,
        description="whole bars of a clip, or of a held-out piece, that form (recurrence) is "
        "measured over, the first ones; longer ones repeat more",
    )
    replicates: int = Field(100, ge=2, description="bootstrap replicates of each figure")
    perplexity_windows: int = Field(
        256, ge=1, description="windows of the test split that perplexity is taken over"
    )
    word2vec: Word2Vec = Word2Vec()

    def measuring(self) -> str:
        """What decides what is measured of a clip, as JSON for a rule's params."""
        return self.params("compat", "clips", "harmony_clips", "form_bars")

    def of_latents(self) -> str:
        """What decides how latents are measured."""
        return self.params("compat", "clips", "form_bars")

    def scoring(self) -> str:
        """What decides how sets are compared."""
        return self.params("smoothing", "compat", "replicates")
