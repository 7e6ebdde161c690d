"""The systems: how each family of generators makes its clips; a new one is a line in MEMBERS."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etude.systems.base import SystemBase

MEMBERS = {
    "audiolm": "etude.systems.audiolm.system:AudioLmSystem",
    "symbolic_lm": "etude.systems.symbolic_lm.system:SymbolicLmSystem",
    "phrase_ldm": "etude.systems.phrase_ldm.system:PhraseLdmSystem",
    "released_phrases": "etude.systems.released_phrases.system:ReleasedPhrasesSystem",
    "musicgen": "etude.systems.musicgen.system:MusicGenSystem",
    "textual_inversion": "etude.systems.textual_inversion.system:TextualInversionSystem",
    "stable_audio": "etude.systems.stable_audio.system:StableAudioSystem",
    "external": "etude.systems.external.system:ExternalSystem",
}


def open_system(name: str) -> SystemBase:
    """The heavy half of a system: its networks, data and player, imported now."""
    module, attribute = MEMBERS[name].split(":")
    system: SystemBase = getattr(importlib.import_module(module), attribute)()
    return system
