"""How learned words are judged."""

from __future__ import annotations

from pydantic import Field

from etude.config.base import Section

NULL, LEARNED = "null", "learned"  # the conditions that every concept is asked for by


class ConceptMetrics(Section):
    """Learned words against other ways of asking (results/metrics/{experiment}/*/concept.csv)."""

    segments: int = Field(
        128, ge=8, description="held-out segments of a concept, the most; spread over its pieces"
    )
    clips: int = Field(32, ge=2, description="clips of each condition, for distance and classifier")
    recognised: float = Field(
        0.6,
        gt=0,
        le=1,
        description="share of held-out clips that must be recognised after the codec; below it, "
        "the codec cannot say the concept",
    )
    replicates: int = Field(1000, ge=100, description="bootstraps over pieces for the intervals")
