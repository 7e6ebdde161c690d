"""Train one stage of a system: from packed tokens to a folder with weights, history and card."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from etude.config import TrainedExperiment
from etude.errors import UserError
from etude.own import digest
from etude.storage import atomic, hash_file, read_json, write_csv, write_text
from etude.training import loop
from etude.training.card import imported_card, trained_card
from etude.training.curve import draw_curve
from etude.training.loop import HISTORY, Hooks, Progress, Trained, fit
from etude.training.state import State, fingerprint
from etude.training.systems import system_of
from etude.training.tracking import open_wandb
from etude.training.transfer import AnyStage, Origin, transfer

log = logging.getLogger(__name__)
TIMINGS = ["step", "seconds", "tokens_per_second", "mfu"]


@dataclass
class Heard:
    """What listening to a stage gave: figures, and clips (float32 [samples]) at a rate."""

    figures: dict[str, float]
    waves: list[NDArray[np.float32]]
    rate: int


def choose_device() -> str:
    """The first GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def stage_fingerprint(
    experiment: TrainedExperiment,
    stage: str,
    packed: dict[str, Any],
    seed: int,
    weights: Path | None = None,
) -> str:
    """The fingerprint of a stage's training; which steps are kept decides no result.

    Of the weights that it begins with (a file) the bytes count, not the name or the place.
    """
    settings = getattr(experiment.stages, stage).model_dump(mode="json", exclude={"weights"})
    for key in ("keep_steps", "save_every", "audition", "tracking"):
        settings["training"].pop(key, None)
    settings["own"] = list(map(digest, experiment.own_networks(stage)))
    if not settings["own"]:
        settings.pop("own")
    system = system_of(experiment)
    own = system.shape(experiment, stage, packed)
    versions = [system.version, loop.VERSION]
    described = {"stage": stage, "settings": settings, "shape": own, "versions": versions}
    upstream = [hash_file(weights)] if weights else []
    return fingerprint(described, seed, packed["data_hash"], upstream)


def train_stage(
    experiment: TrainedExperiment,
    stage: str,
    seed: int,
    packed: Path,
    folder: Path,
    state_root: Path,
    tensorboard: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    audition: Callable[[Any], Heard] | None = None,
    weights: Path | None = None,
    tokenizer: Path | None = None,
) -> Trained:
    """Train, or restore, one stage and write its folder.

    Args:
        packed: the token set's folder (train/, valid/, info.json).
        folder: gets model.safetensors, config.json, history.csv, timings.csv, curve.svg, card.md.
        state_root: results/state, where resumable states lie.
        tensorboard: folder of curves (and of what is heard), none where it is None.
        audition: listens to the stage at each validation (etude.systems.audiolm.audition).
        weights: the file that the stage's `weights` names; training begins with it.
        tokenizer: its folder, where training changes what the tokens say (augmentation).

    Raises:
        UserError: when those weights do not fit, and as `fit`.
        Interrupted: when it was asked to stop; the state is saved.
    """
    info = read_json(packed / "info.json")
    settings = getattr(experiment.stages, stage).training
    model, origin = begin_stage(experiment, stage, info, seed, weights)
    print_ = stage_fingerprint(experiment, stage, info, seed, weights)
    state = State(state_root / print_)
    state.folder.mkdir(parents=True, exist_ok=True)
    name = "/".join(folder.parts[-3:])
    state.describe({"for": name, "stage": stage, "seed": seed, "data_hash": info["data_hash"]})
    state.refer(name)
    train, valid = system_of(experiment).data(experiment, stage, packed, info, tokenizer)
    log.info("%s: %.2f M parameters, %d sequences", stage, _parameters(model) / 1e6, len(train))
    tracking = _tracking(settings.tracking, tensorboard, name, print_, experiment)
    with _Terminal(stage, settings.steps, *tracking) as terminal:
        hooks = Hooks(terminal.progress, should_stop, terminal.on_row)
        if audition is not None:
            hooks.on_validate = lambda step, validated: terminal.hear(step, audition(validated))
        trained = fit(model, train, valid, settings, seed, state, hooks, choose_device())
    model.save(folder, info.get("tokenizers", {}))
    _write_training(trained, folder, f"{stage}, seed {seed}")
    card = trained_card(experiment, stage, seed, info, _parameters(model), trained, origin)
    write_text(folder / "card.md", card)
    return trained


def _tracking(
    names: list[str], folder: Path | None, name: str, run: str, experiment: TrainedExperiment
) -> tuple[Path | None, Any]:
    """TensorBoard's folder and wandb's run, None for what is not wanted."""
    if folder is None:
        return None, None
    about = experiment.model_dump(mode="json")
    wandb = open_wandb(folder, name, run, about) if "wandb" in names else None
    return folder if "tensorboard" in names else None, wandb


def import_stage(
    experiment: TrainedExperiment, stage: str, seed: int, packed: Path, weights: Path, folder: Path
) -> None:
    """Write a stage's folder from weights that were trained elsewhere.

    Args:
        packed: the token set's folder; the stage must suit its tokens.
        weights: the file that the stage's `weights` names.
        folder: gets model.safetensors, config.json, card.md.

    Raises:
        UserError: when the weights do not fit.
    """
    info = read_json(packed / "info.json")
    model, origin = begin_stage(experiment, stage, info, seed, weights)
    assert origin is not None
    model.save(folder, info.get("tokenizers", {}))
    write_text(folder / "card.md", imported_card(experiment, stage, _parameters(model), origin))
    log.info(
        "%s: %s taken as it is, %.2f M parameters", stage, origin.name, _parameters(model) / 1e6
    )


def begin_stage(
    experiment: TrainedExperiment, stage: str, info: dict[str, Any], seed: int, weights: Path | None
) -> tuple[AnyStage, Origin | None]:
    """A stage as training begins: freshly initialised, or with weights from elsewhere.

    Raises:
        UserError: when those do not fit.
        ValueError: when config gives weights and the caller has not brought their file.
    """
    model = cast(AnyStage, system_of(experiment).build(experiment, stage, info, seed))
    settings = getattr(experiment.stages, stage).weights
    if (settings is None) != (weights is None):
        raise ValueError("`weights` is the file that the stage's settings name, and None if none")
    if weights is None:
        return model, None
    return model, transfer(model, weights, settings, info.get("tokenizers", {}))


def _parameters(model: AnyStage) -> int:
    return sum(p.numel() for p in model.parameters())


def copy_kept_step(
    experiment: TrainedExperiment,
    stage: str,
    seed: int,
    step: int,
    *,
    packed: Path,
    state_root: Path,
    output: Path,
    weights: Path | None = None,
) -> None:
    """Bring the weights that a training kept at a step out of its state folder.

    Raises:
        UserError: when they are not there.
    """
    info = read_json(packed / "info.json")
    print_ = stage_fingerprint(experiment, stage, info, seed, weights)
    source = State(state_root / print_).kept(step)
    if not source.is_file():
        raise UserError(
            f"the weights of step {step} are not there",
            where=str(source),
            why="the state of the training was removed, or it has fewer steps",
            do=f"train again: snakemake --cores all --forcerun {output.parent}/model.safetensors",
        )
    with atomic(output) as temporary:
        shutil.copyfile(source, temporary)


def _write_training(trained: Trained, folder: Path, title: str) -> None:
    write_csv(folder / "history.csv", HISTORY, (_rounded(row) for row in trained.history))
    write_csv(folder / "timings.csv", TIMINGS, ({"mfu": ""} | row for row in trained.timings))
    draw_curve(trained.history, folder / "curve.svg", title)


def _rounded(row: dict[str, float | None]) -> dict[str, Any]:
    return {name: "" if v is None else f"{v:.6g}" for name, v in row.items()}


class _Terminal:
    """Progress bar, TensorBoard and wandb."""

    def __init__(self, stage: str, steps: int, tensorboard: Path | None, wandb: Any = None) -> None:
        self.wandb = wandb
        self.bar = tqdm(total=steps, desc=stage, unit="step", mininterval=1.0)
        self.writer = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(tensorboard))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.wandb is not None:
            self.wandb.finish()
        if self.writer is not None:
            with suppress(OSError):
                self.writer.close()

    def progress(self, event: Progress) -> None:
        self.bar.set_postfix(
            loss=f"{event.train_loss:.3f}", tokens_s=f"{event.tokens_per_second:.0f}"
        )
        if not self.bar.n and event.step > event.done:  # it goes on where it was stopped
            self.bar.reset(event.steps)
            self.bar.initial = self.bar.n = event.step - event.done
        self.bar.update(event.step - self.bar.n)

    def hear(self, step: int, heard: Heard) -> None:
        """Log what an audition gave, and put its clips beside the curves."""
        figures = ", ".join(f"{name} {value:.3f}" for name, value in heard.figures.items())
        log.info("step %d: heard %s", step, figures)
        if self.writer is not None:
            for name, value in heard.figures.items():
                self.writer.add_scalar(f"audition/{name}", value, step)
            for index, wave in enumerate(heard.waves):
                self.writer.add_audio(f"clip-{index}", wave[None], step, sample_rate=heard.rate)

    def on_row(self, row: dict[str, float | None]) -> None:
        if self.wandb is not None:
            figures = {n: v for n, v in row.items() if n != "step" and v is not None}
            self.wandb.log(figures, step=int(row["step"] or 0))
        if self.writer is not None:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self.writer.add_scalar(name, value, int(row["step"] or 0))
