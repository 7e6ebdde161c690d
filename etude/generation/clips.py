"""The clips of a trained experiment, as the workflow makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from etude.clips.progress import ProgressBar
from etude.clips.writing import write_clips
from etude.config import TrainedExperiment
from etude.corpus.owners import Owners
from etude.storage import hash_file, hash_folder
from etude.systems import open_system
from etude.systems.base import Parts, ShouldStop
from etude.systems.conditions import Conditions
from etude.tokenizers.fitted import weights_of
from etude.workflow.imported_weights import MODEL


def make_clips(
    experiment: TrainedExperiment,
    parts: Parts,
    seed: int,
    draw: int,
    folder: Path,
    *,
    primes: Iterable[Path] = (),
    owners: Sequence[Path] = (),
    should_stop: ShouldStop,
) -> None:
    """Load a player, sample and write its clips.

    Args:
        seed, draw: of training and of generation.
        primes: the user's files that clips continue, in turn.
        owners: owners.csv of each corpus that has any; what they own goes into weights.json.

    Raises:
        UserError: a file cannot be used, or the player makes something that is not a clip.
        Stopped: `should_stop` said so; no folder is left.
    """
    settings = experiment.generate
    player = open_system(experiment.system).open(experiment, parts)
    prepared = player.prepare(settings, Conditions(files=tuple(primes)))
    with ProgressBar("clips") as bar:
        clips = player.clips(settings, seed, draw, prepared, bar, should_stop)
        write_clips(
            *(clips, folder, player.rate),
            maker=f"the system {experiment.system}",
            notes="notes" in experiment.makes,
            about=made_with(parts) | _owned(owners),
        )


def _owned(tables: Sequence[Path]) -> dict[str, Any]:
    """Whose music the clips were learned from, by corpus; nothing where no table says it."""
    found = {owners.corpus: owners.about for owners in map(Owners.read, tables)}
    return {"owners": found} if found else {}


def made_with(parts: Parts) -> dict[str, Any]:
    """Hashes of all that made clips: stages, fitted tokenizers, weights of others in these."""
    return {
        "stages": {name: hash_file(folder / MODEL) for name, folder in parts.models.items()},
        "tokenizers": {role: hash_folder(folder) for role, folder in parts.tokenizers.items()},
        "pretrained": weights_of(parts.tokenizers),
    }
