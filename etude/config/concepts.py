"""How learned words are judged."""

from __future__ import annotations

from pydantic import Field

from etude.config.base import Section

NULL, LEARNED = "null", "learned"  # the conditions that every concept is asked for by
REAL = "real"  # not asked for: held-out music of the concept
# What a word must beat, and what it is in a sentence. Its plain name is no control: it is what one
# would write, where one has the word for it.
CONTROLS = {
    NULL: "no text",
    "nearest": "the nearest known word",
    "untrained": "its rows before training",
    "wrong": "another sound's word",
}


class ConceptMetrics(Section):
    """Learned words against other ways of asking (results/metrics/{experiment}/*/concept.csv)."""

    segments: int = Field(
        64,
        ge=8,
        description="at most this many held-out segments of a concept, spread over its pieces",
    )
    clips: int = Field(32, ge=2, description="clips of each condition, for distance and classifier")
    recognised: float = Field(
        0.6,
        gt=0,
        le=1,
        description="share of held-out clips that must be recognised after the codec; below it,"
        " the codec cannot express the concept",
    )
    known: int = Field(
        4,
        ge=0,
        description="how many of the base's own sounds are measured like new words (those with "
        "the most held-out pieces), for comparison",
    )
