"""What tokenizers are fitted on."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_serializer

from etude.config.base import Section, UserPath


class Fit(Section):
    """What a tokenizer is fitted on: the training split of a corpus, cut in a named way."""

    corpus: str | None = Field(None, description="none: the corpus that is being tokenized")
    cut: str = Field("two_seconds", description="a name from `cuts`")
    segments: int = Field(800, ge=1, description="training segments used at most")
    seed: int = Field(0, ge=0, description="choice of segments and k-means start")
    folder: UserPath | None = Field(
        None,
        exclude_if=lambda folder: folder is None,  # an unused key fits nothing again
        description="a tokenizer that was fitted elsewhere (results/tokenizers/, `etude export`): "
        "it is taken as it is, nothing is fitted",
    )

    @field_serializer("folder", when_used="json")
    def _name_only(self, folder: Path | None) -> str | None:
        """Its files are a rule's input; params and results do not say where they lay."""
        return folder.name if folder else None
