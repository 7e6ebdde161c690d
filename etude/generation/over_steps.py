"""Clips of earlier steps of a training, made as those of its end: same prompts, same random seeds.

A checkpoint is the trained experiment in whose stages the weights of a step stand in for the last.
Whatever else a stage's folder holds stays as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from etude.config import TrainedExperiment
from etude.generation.clips import make_clips
from etude.storage import atomic_directory
from etude.systems.base import Parts, ShouldStop
from etude.workflow.imported_weights import MODEL

VERSION = 1  # raised when other clips are made of the same weights


def clips_over_steps(
    experiment: TrainedExperiment,
    parts: Parts,
    checkpoints: Mapping[str, Mapping[str, int]],
    draw: int,
    seed: int,
    folder: Path,
    *,
    primes: Iterable[Path] = (),
    owners: Iterable[Path] = (),
    should_stop: ShouldStop,
) -> None:
    """Write a folder of clips for each checkpoint.

    Args:
        parts: of the finished training; beside a stage's weights lies `step-<n>.safetensors` of
            each step that `checkpoints` names.
        checkpoints: the step of each stage that varies, by the name of the checkpoint.
        seed, draw: as in `make_clips`, which the rest is for too.

    Raises:
        UserError, Stopped: as `make_clips`.
    """
    given, owned = list(primes), list(owners)
    with atomic_directory(folder) as temporary:
        for name, steps in checkpoints.items():
            with TemporaryDirectory(prefix="etude-step-") as models:
                earlier = at_steps(parts, steps, Path(models))
                make_clips(
                    experiment,
                    earlier,
                    seed,
                    draw,
                    temporary / name,
                    primes=given,
                    owners=owned,
                    should_stop=should_stop,
                )


def at_steps(parts: Parts, steps: Mapping[str, int], folder: Path) -> Parts:
    """The parts of an experiment as they were at some steps; stages are copied into `folder`."""
    models = dict(parts.models)
    for stage, step in steps.items():
        source, models[stage] = models[stage], folder / stage
        others = shutil.ignore_patterns(MODEL, "step-*.safetensors")
        shutil.copytree(source, models[stage], ignore=others)
        shutil.copyfile(source / f"step-{step}.safetensors", models[stage] / MODEL)
    return replace(parts, models=models)
