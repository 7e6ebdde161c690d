"""The system `external`: clips that somebody else made, put into the same table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from etude.config.base import UserPath
from etude.config.systems.base import (
    RIVALS,
    RIVALS_WITH_NOTES,
    ExperimentBase,
    GenerateSettings,
)
from etude.config.systems.training import Seeds

if TYPE_CHECKING:
    from etude.config.whole import Config


class _ByNotes:
    """What is one thing of clips with notes and another without; of the class, without."""

    def __init__(self, without: Any, with_notes: Any) -> None:
        self.without, self.with_notes = without, with_notes

    def __get__(self, experiment: External | None, owner: type) -> Any:
        return self.with_notes if experiment is not None and experiment.notes else self.without


class External(ExperimentBase):
    """Clips that somebody else made: a folder, put into the same table."""

    trained: ClassVar[bool] = False
    makes: ClassVar[Any] = _ByNotes(frozenset({"audio"}), frozenset({"audio", "notes"}))
    # Nothing of it is here to be left untrained.
    rivals: ClassVar[Any] = _ByNotes(RIVALS, RIVALS_WITH_NOTES)
    modules: ClassVar[Mapping[str, str]] = {"external.importing": "systems/external/importing"}
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "generate": ("external.importing", "clips"),
        "baselines": ("baselines", "clips"),
    }

    system: Literal["external"]
    tokens: str = Field("embedded", description="a name from `tokens`: gives the cut")
    clips: UserPath = Field(
        description="folder of WAV, FLAC or MP3 files, or of MIDI; a conditions.csv in it (clip, "
        "prompt) says what each was asked to be"
    )
    notes: bool = Field(
        False,
        exclude_if=lambda wanted: not wanted,  # an unused key imports nothing again
        description="the folder holds MIDI: its notes are measured too, and it is played as the "
        "corpus is where no recording of the same name lies beside it",
    )
    seconds: float = Field(
        2.0,
        gt=0,
        le=3600,
        description="longer recordings are cut into clips of this length; MIDI is used up to it",
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
