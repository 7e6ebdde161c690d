"""AudioLM as training, generation and metrics see it."""

from __future__ import annotations

from etude.systems.base import SystemBase


class AudioLmSystem(SystemBase):
    """Three transformers over discrete audio tokens."""

    title, items = "AudioLM", "segments"

    # -------------------------------------------------------------------------------- training

    # ------------------------------------------------------------------------------- generation

    # ------------------------------------------------------------------------------- evaluation
