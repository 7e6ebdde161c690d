"""Criteria: what a run should reach, stated before it and checked after it."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, model_validator

from etude.config.base import Section, fault


class Criteria(Section):
    """What an experiment must reach; its verdict is in results/criteria/, and stops nothing."""

    loss_below: float | None = Field(
        None,
        gt=0,
        description="the training loss of every stage stays below this to the end (we-sharp: 1.0, "
        "nats per predicted token)",
    )
    steady_share: float = Field(
        0.1, gt=0, le=1, description="the loss must stay below during this last share of the steps"
    )
    smooth_steps: int = Field(
        500, ge=1, description="losses are means over this many steps (500, as we-sharp plots them)"
    )
    exact_matches: int | None = Field(
        None,
        ge=0,
        description="at most this many segments of generated clips have the samples of a training "
        "segment (we-sharp: 0)",
    )
    distance_below: dict[str, PositiveFloat] = Field(
        {},
        description="for an embedding: the Fréchet distance of generated clips is below this "
        "(we-sharp published none)",
    )

    @model_validator(mode="after")
    def _something_is_asked(self) -> Criteria:
        if self.loss_below is None and self.exact_matches is None and not self.distance_below:
            raise fault(
                "empty-criterion",
                ": states nothing; set loss_below, exact_matches or distance_below",
            )
        return self
