"""The system `external`: clips that somebody else made, put into the same table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from etude.config.base import UserPath
from etude.config.systems.base import RIVALS, ExperimentBase, GenerateSettings
from etude.config.systems.training import Seeds

if TYPE_CHECKING:
    from etude.config.whole import Config


class External(ExperimentBase):
    """Clips that somebody else made: a folder, put into the same table."""

    trained: ClassVar[bool] = False
    rivals: ClassVar[tuple[str, ...]] = RIVALS  # nothing of it is here to be left untrained
    modules: ClassVar[Mapping[str, str]] = {"external.importing": "systems/external/importing"}
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "generate": ("external.importing", "clips"),
        "baselines": ("baselines", "clips"),
    }

    system: Literal["external"]
    tokens: str = Field("embedded", description="a name from `tokens`: gives the cut")
    clips: UserPath = Field(description="folder of WAV, FLAC or MP3 files")
    seconds: float = Field(
        2.0, gt=0, le=3600, description="longer files are cut into clips of this length"
    )

    @property  # type: ignore[misc]
    def generate(self) -> GenerateSettings:
        """How many clips of this length they are compared with."""
        return GenerateSettings(seconds=self.seconds)

    @property  # type: ignore[misc]
    def seeds(self) -> Seeds:
        """There is one set of clips."""
        return Seeds()

    def roles(self, config: Config) -> dict[str, str]:
        """Nothing is tokenized: of the token set only the cut counts."""
        return {}
