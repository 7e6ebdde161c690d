"""Clips that somebody else made: nothing is trained, nothing generated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etude.config.systems.external import External
from etude.systems.base import ClipSet, Parts, RealMusic, SystemBase

# Why it has none of the sets that are made with a trained system's parts.
WITHOUT = {
    "reconstruction": "this system has no codec",
    "shuffled": "this system has no tokens",
    "untrained": "this system has no networks of ours",
}


class ExternalSystem(SystemBase):
    """Clips that somebody else made."""

    title = "clips from elsewhere"

    # ------------------------------------------------------------------------------- generation

    def bring(self, experiment: External, rate: int, folder: Path, parts: Parts) -> int:  # noqa: D102
        from etude.systems.external.importing import import_clips, import_notes

        if experiment.notes:
            return import_notes(experiment.clips, parts, experiment.seconds, folder)
        return import_clips(experiment.clips, rate, experiment.seconds, folder)

    def baselines(  # noqa: D102
        self, experiment: Any, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        for name, why in WITHOUT.items():
            yield name, ClipSet((), real.rate, why)
