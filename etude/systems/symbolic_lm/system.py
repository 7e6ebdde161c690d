"""A language model of notes as training, generation and metrics see it."""

from __future__ import annotations

from etude.systems.base import SystemBase


class SymbolicLmSystem(SystemBase):
    """One language model of symbols."""

    title, items = "symbolic language model", "windows"

    # -------------------------------------------------------------------------------- training

    # ------------------------------------------------------------------------------- generation

    # ------------------------------------------------------------------------------- evaluation
