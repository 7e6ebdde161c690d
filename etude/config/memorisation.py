"""The memorisation test: how much of it is run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from etude.config.base import Section, UserPath


class Memorisation(Section):
    """Does a clip repeat the training music? A ladder of searches, with measured recall."""

    null_clips: int = Field(
        320,
        ge=1,
        description="held-out excerpts that show what a high score is; at least 300 are needed",
    )
    planted: int = Field(
        20, ge=0, description="planted copies per attack, from which recall is measured; 0: none"
    )
    embedded: bool = Field(
        False,
        description="also plant copies of 8 s (searched by chroma) and spans of 2 s in clips of "
        "8 s (minutes more on two cores)",
    )
    prefixes: int = Field(
        64,
        ge=0,
        description="training and held-out items whose beginnings a model has to continue; 0: "
        "none, and the gate says so",
    )
    prefix_tokens: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (32, 64, 128),
        description="lengths of these beginnings for symbolic models; audio uses quarters of a "
        "segment",
    )
    continued_tokens: int = Field(
        32, ge=1, description="tokens by which a symbolic model continues a beginning"
    )
    soundfont: UserPath | None = Field(
        None, description="another SoundFont to plant copies with; none: another program"
    )
