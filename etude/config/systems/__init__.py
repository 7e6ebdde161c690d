"""The systems' settings, one file each; a new system is a line in MEMBERS."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from etude.config.systems.base import ExperimentBase

MEMBERS = {
    "audiolm": "etude.config.systems.audiolm:AudioLm",
    "symbolic_lm": "etude.config.systems.symbolic_lm:SymbolicLm",
    "phrase_ldm": "etude.config.systems.phrase_ldm:PhraseLdm",
    "released_phrases": "etude.config.systems.released_phrases:ReleasedPhrases",
    "musicgen": "etude.config.systems.musicgen:MusicGen",
    "textual_inversion": "etude.config.systems.textual_inversion:TextualInversion",
    "stable_audio": "etude.config.systems.stable_audio:StableAudio",
    "external": "etude.config.systems.external:External",
}


def _settings_class(member: str) -> type[ExperimentBase]:
    module, name = member.split(":")
    found: type[ExperimentBase] = getattr(importlib.import_module(module), name)
    return found


CLASSES: dict[str, type[ExperimentBase]] = {n: _settings_class(m) for n, m in MEMBERS.items()}

if TYPE_CHECKING:
    Experiment = ExperimentBase
else:  # one of the systems, told apart by its `system`
    Experiment = Annotated[Union[tuple(CLASSES.values())], Field(discriminator="system")]  # noqa: UP007
