"""Train one stage of a system: from packed tokens to a folder with weights, history and card.

The same for every system; what differs, `etude.systems.open_system` gives.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from tqdm import tqdm

from etude.config import TrainedExperiment, Weights
from etude.devices import choose_device
from etude.errors import UserError
from etude.pretrained.origin import checkpoint_in, read_origin
from etude.storage import (
    atomic,
    atomic_directory,
    hash_file,
    hash_folder,
    write_csv,
    write_text,
)
from etude.systems import open_system
from etude.systems.base import Audition, Parts, Wave
from etude.systems.stage_module import StageModule
from etude.training.card import imported_card, trained_card
from etude.training.curve import draw_curve
from etude.training.loop import Hooks, Progress, TrainingResult, fit, history_columns
from etude.training.state import TrainingState, fingerprint, open_state, write_history
from etude.training.tracking import open_wandb
from etude.training.transfer import Origin, origin_of, transfer
from etude.workflow.imported_weights import MODEL
from etude.workflow.versions import numbers

log = logging.getLogger(__name__)
TIMINGS = ["step", "seconds", "tokens_per_second", "mfu"]
SPLITS = ("train", "valid", "test")
Distance = Callable[[Sequence[Wave], Sequence[Wave], int], float]


def stage_fingerprint(
    experiment: TrainedExperiment, stage: str, parts: Parts, seed: int, weights: Path | None = None
) -> str:
    """The fingerprint of a stage's training; which steps are kept does not matter.

    Of the weights that it begins with, and of the stages that it learns from, the bytes count, not
    their names or places. Of Étude's code and the user's own, what the rule's `version` has.
    """
    settings = experiment.stage(stage).model_dump(mode="json", exclude={"weights"})
    for key in ("keep_steps", "save_every", "audition", "tracking"):
        settings["training"].pop(key, None)
    described = {
        "stage": stage,
        "settings": settings,
        # The parts of the experiment that decide this stage, as in the rule's params.
        "keys": experiment.model_dump(
            mode="json", include=set(experiment.stage_keys.get(stage, ()))
        ),
        "shape": open_system(experiment.system).shape(experiment, stage, parts),
        "versions": numbers(experiment, "train", stage),
    }
    upstream = [origin_of(weights).sha256] if weights else []
    upstream += [f"captions {hash_file(parts.captions)}"] if parts.captions else []
    upstream += [f"{name} {hash_file(folder / MODEL)}" for name, folder in parts.models.items()]
    upstream += [f"{name} {hash_folder(folder)}" for name, folder in parts.latents.items()]
    return fingerprint(described, seed, parts.info["data_hash"], upstream)


def train_stage(
    experiment: TrainedExperiment,
    stage: str,
    seed: int,
    parts: Parts,
    folder: Path,
    state_root: Path,
    tensorboard: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    weights: Path | None = None,
    distance: Distance | None = None,
) -> TrainingResult:
    """Train, or restore, one stage and write its folder.

    Args:
        parts: the packed token set, its tokenizers, and the results of the stages that it needs.
        folder: gets model.safetensors, config.json, history.csv, timings.csv, curve.svg, card.md.
        state_root: results/state, where resumable states lie.
        tensorboard: folder for curves (and auditions); None: no curves.
        weights: the file that the stage's `weights` names; distance: for auditions.

    Raises:
        UserError: when those weights do not fit, and as `fit`.
        Interrupted: when it was asked to stop; the state is saved.
    """
    system, info = open_system(experiment.system), parts.info
    settings = experiment.stage(stage).training
    model, origin = begin_stage(experiment, stage, parts, seed, weights)
    print_ = stage_fingerprint(experiment, stage, parts, seed, weights)
    name, data_hash = "/".join(folder.parts[-3:]), info["data_hash"]
    about = {"for": name, "stage": stage, "seed": seed, "data_hash": data_hash}
    state = open_state(state_root / print_, name, about)
    train, valid = system.data(experiment, stage, parts)
    size, figures = sum(p.numel() for p in model.parameters()), system.figures(stage)
    log.info("%s: %.2f M parameters, %d sequences", stage, size / 1e6, len(train))
    tracking = _tracking(settings.tracking, tensorboard, name, print_, experiment)
    with _Terminal(stage, settings.steps, *tracking) as terminal:
        hooks = Hooks(terminal.progress, should_stop, terminal.on_row)
        if settings.audition and (listen := system.audition(parts)) is not None:
            hooks.on_validate = lambda step, model: terminal.hear(step, listen(model), distance)
        how = (state, hooks, choose_device(), figures, system.flops)
        trained = fit(model, train, valid, settings, seed, *how)
    model.save(folder, info.get("tokenizers", {}))
    unit = system.loss_unit(stage)
    loss = f"{system.loss_name} ({unit})" if unit else system.loss_name
    title, columns = f"{stage}, seed {seed}", history_columns(figures, settings)
    _write_history(trained, folder, columns, title, loss)
    card = trained_card(experiment, stage, seed, info, size, trained, origin)
    write_text(folder / "card.md", card)
    return trained


def _write_history(
    trained: TrainingResult, folder: Path, columns: list[str], title: str, loss: str
) -> None:
    """history.csv, timings.csv and curve.svg of a training."""
    write_history(folder / "history.csv", columns, trained.history)
    write_csv(folder / "timings.csv", TIMINGS, ({"mfu": ""} | row for row in trained.timings))
    draw_curve(trained.history, folder / "curve.svg", title, loss)


def _tracking(
    names: Sequence[str], folder: Path | None, name: str, run: str, experiment: TrainedExperiment
) -> tuple[Path | None, Any]:
    """TensorBoard's folder and wandb's run, None for what is not wanted."""
    if folder is None:
        return None, None
    about = experiment.model_dump(mode="json")
    wandb = open_wandb(folder, name, run, about) if "wandb" in names else None
    return folder if "tensorboard" in names else None, wandb


def import_stage(
    experiment: TrainedExperiment,
    stage: str,
    seed: int,
    parts: Parts,
    weights: Path | None,
    folder: Path,
) -> None:
    """Write a stage's folder from weights that were trained elsewhere.

    Args:
        parts: as for `train_stage`; the stage must suit its tokens.
        weights: the file that the stage's `weights` names; None: the system builds it of `parts`.
        folder: gets model.safetensors, config.json, card.md.

    Raises:
        UserError: when the weights do not fit.
    """
    model, origin = begin_stage(experiment, stage, parts, seed, weights)
    model.save(folder, parts.info.get("tokenizers", {}))
    size = sum(p.numel() for p in model.parameters())
    write_text(folder / "card.md", imported_card(experiment, stage, size, origin))
    name = origin.name if origin else "what the tokenizer has"
    log.info("%s: %s taken as it is, %.2f M parameters", stage, name, size / 1e6)


def begin_stage(
    experiment: TrainedExperiment, stage: str, parts: Parts, seed: int, weights: Path | None
) -> tuple[StageModule, Origin | None]:
    """A stage as training begins: freshly initialised, or with weights from elsewhere.

    Raises:
        UserError: when those do not fit.
        ValueError: when config gives weights and the caller has not brought their file.
    """
    settings, system = experiment.stage(stage).weights, open_system(experiment.system)
    if (settings is None) != (weights is None):
        raise ValueError("`weights` is the file that the stage's settings name, and None if none")
    checkpoint = checkpoint_in(weights) if weights else None
    given = checkpoint or weights
    if given and (taken := system.take_over(experiment, stage, parts, given)) is not None:
        return taken, origin_of(weights or given)
    model: StageModule = system.build(experiment, stage, parts, seed)
    if settings is None or given is None or weights is None:
        return model, None
    if checkpoint is not None:
        # Its hash was compared when it was fetched, and tensors alone are read.
        settings = Weights(path=checkpoint, sha256=read_origin(weights)["sha256"])
    transfer(model, given, settings, parts.info.get("tokenizers", {}))
    return model, origin_of(weights)


def encode_stage(experiment: TrainedExperiment, stage: str, parts: Parts, folder: Path) -> None:
    """Write a trained stage's encoding of the corpus, for the stages that need it.

    Args:
        parts: as for `train_stage`; `models` has the trained stage itself too.
        folder: gets {split}.safetensors for each split and statistics.json.

    Raises:
        UserError: the system wrote something else.
    """
    assert parts.packed is not None
    splits = [split for split in SPLITS if (parts.packed / split).is_dir()]
    wanted = [*(f"{split}.safetensors" for split in splits), "statistics.json"]
    with atomic_directory(folder) as temporary:
        open_system(experiment.system).encode(experiment, stage, parts, temporary)
        missing = [name for name in wanted if not (temporary / name).is_file()]
        if missing:
            raise UserError(
                f"the stage {stage} was to encode the corpus and left out {', '.join(missing)}",
                code="encoding-incomplete",
                where=f"system {experiment.system!r}",
                why="`encode` must write a file for each split, and statistics.json",
                do="write them there, or do not name the stage in `stage_encodes`",
            )
    log.info("%s: the corpus is encoded, %s", stage, ", ".join(splits))


def copy_kept_step(
    experiment: TrainedExperiment,
    stage: str,
    seed: int,
    step: int,
    *,
    parts: Parts,
    state_root: Path,
    output: Path,
    weights: Path | None = None,
) -> None:
    """Bring the weights that a training kept at a step out of its state folder.

    Raises:
        UserError: when they are not there.
    """
    print_ = stage_fingerprint(experiment, stage, parts, seed, weights)
    source = TrainingState(state_root / print_).kept(step)
    if not source.is_file():
        raise UserError(
            f"the weights of step {step} are not there",
            code="weights-not-found",
            where=str(source),
            why="the state of the training was removed, or it has fewer steps",
            do=f"train again: snakemake --cores all --forcerun {output.parent}/model.safetensors",
        )
    with atomic(output) as temporary:
        shutil.copyfile(source, temporary)


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

    def hear(self, step: int, sounds: Audition, distance: Distance | None) -> dict[str, float]:
        """Log what an audition gave, and put its clips beside the curves -> its figures."""
        if distance is not None:
            pairs = sounds.pairs.items()
            found = {name: distance(*clips, sounds.rate) for name, clips in pairs}
            sounds.figures |= found | ({"distance": fmean(found.values())} if found else {})
        figures = ", ".join(f"{name} {value:.3f}" for name, value in sounds.figures.items())
        log.info("step %d: heard %s", step, figures)
        if self.writer is not None:
            for name, value in sounds.figures.items():
                self.writer.add_scalar(f"audition/{name}", value, step)
            for index, wave in enumerate(sounds.waves):
                self.writer.add_audio(f"clip-{index}", wave[None], step, sample_rate=sounds.rate)
        return sounds.figures

    def on_row(self, row: dict[str, float | None]) -> None:
        if self.wandb is not None:
            figures = {n: v for n, v in row.items() if n != "step" and v is not None}
            self.wandb.log(figures, step=int(row["step"] or 0))
        if self.writer is not None:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self.writer.add_scalar(name, value, int(row["step"] or 0))
