"""The system `external`: clips that somebody else made."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from etude.config.base import Section, UserPath


class External(Section):
    """Clips that somebody else made: a folder, put into the same table."""

    trained: ClassVar[bool] = False  # Étude takes these clips as they are, and does not judge them
    system: Literal["external"]
    corpus: str = Field(description="a name from `corpora`: gives the held-out reference")
    tokens: str = Field("embedded", description="a name from `tokens`: gives the cut")
    clips: UserPath = Field(description="folder of WAV, FLAC or MP3 files")
    seconds: float = Field(
        2.0, gt=0, le=3600, description="longer files are cut into clips of this length"
    )

    def untrained_params(self) -> str:
        """What decides the clips that these are compared with."""
        return self.params("system", "corpus", "tokens", "seconds", "clips")
