"""The training loop of every stage of every system.

Read it from `fit` down. A model must offer `loss(batch) -> (scalar, figures)`; the figure `count`
says how many items (tokens, frames) the scalar is a mean over. The system says which other figures
there are and what they mean (`etude.systems.base.TrainingMetric`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from etude.config import TrainingSettings
from etude.errors import UserError
from etude.storage import atomic
from etude.systems.base import Batch, Data, TrainingMetric
from etude.systems.weights import on_cpu
from etude.training.data import training_batch, validation_batches
from etude.training.devices import open_devices, processes
from etude.training.optimiser import build_optimiser, learning_rates, set_rates
from etude.training.speed import peak_flops, prepare_network
from etude.training.state import TrainingState, write_history

VERSION = 2  # raised when the same settings train other weights

log = logging.getLogger(__name__)
LOG_EVERY = 10  # steps between rows of the history
SHOWN_ROWS = 500  # up to which each is written at once; later less often, since all are rewritten


def history_columns(figures: Sequence[TrainingMetric], settings: TrainingSettings) -> list[str]:
    """The columns of history.csv."""
    names = [figure.name for figure in figures]
    rates = learning_rates(0, settings)
    return ["step", "train_loss", "valid_loss", *names, *rates, "gradient_norm"]


class Interrupted(Exception):  # noqa: N818  it is no error: the state is saved and a retry goes on
    """Training was asked to stop; everything that it needs to continue is saved."""


@dataclass(frozen=True)
class Progress:
    """What a progress callback gets."""

    step: int
    steps: int
    done: int  # by this process
    train_loss: float
    tokens_per_second: float
    eta_seconds: float


@dataclass
class TrainingResult:
    """The outcome of a training: the history and how long it took; weights are in the model."""

    history: list[dict[str, float | None]]
    timings: list[dict[str, Any]] = field(default_factory=list)
    restored: bool = False


@dataclass
class Hooks:
    """What a caller may plug into a training."""

    progress: Callable[[Progress], None] = lambda event: None
    should_stop: Callable[[], bool] = lambda: False
    on_row: Callable[[dict[str, float | None]], None] = lambda row: None
    # Gives figures that are heard, if any; they are in the row of the history.
    on_validate: Callable[[int, nn.Module], Mapping[str, float] | None] = lambda step, model: None


def fit(
    model: nn.Module,
    train: Data,
    valid: Data | None,
    settings: TrainingSettings,
    seed: int,
    state: TrainingState,
    hooks: Hooks | None = None,
    device: str = "cpu",
    figures: Sequence[TrainingMetric] = (),
    flops: Callable[[nn.Module, Batch], float] = lambda model, batch: 0.0,
) -> TrainingResult:
    """Train a model in place; continues where an interrupted run of the same state stopped.

    Args:
        figures: what is computed at validations besides the loss.
        flops: of a batch, forward and backward; 0 where they are not known.

    Raises:
        UserError: nothing to train on, or the loss is no longer a number.
        Interrupted: `hooks.should_stop` said so; the state is saved.
    """
    if len(train) == 0:
        raise UserError(
            "there is nothing to train on",
            code="nothing-to-train-on",
            why="the training split is empty",
            do="look at pieces.csv and the cuts' index.csv for the reasons of rejection",
        )
    if settings.batch_size < processes():
        raise UserError(
            f"a batch of {settings.batch_size} cannot be shared by {processes()} processes",
            code="batch-too-small",
            do="raise batch_size, or start fewer",
        )
    run = _TrainingRun(
        model, train, valid, settings, seed, state, hooks or Hooks(), device, figures, flops
    )
    with state.locked(run.hooks.should_stop) if run.devices.first else nullcontext():
        return run.go()


class _TrainingRun:
    """One training under way."""

    def __init__(
        self,
        model: nn.Module,
        train: Data,
        valid: Data | None,
        settings: TrainingSettings,
        seed: int,
        state: TrainingState,
        hooks: Hooks,
        device: str,
        figures: Sequence[TrainingMetric],
        flops: Callable[[nn.Module, Batch], float],
    ) -> None:
        self.devices = open_devices(settings.precision, device)
        self.device = self.devices.device
        self.model, self.train, self.valid = model.to(self.device), train, valid
        self.settings, self.seed, self.state, self.hooks = settings, seed, state, hooks
        self.average = average_of(model, settings.ema_decay)
        prepare_network(model, settings)
        self.module = self.devices.prepare(model)
        self.figures, self.flops_of = figures, flops
        self.peak, self.flops = peak_flops(self.device, settings.precision), 0.0
        self.optimiser = build_optimiser(model, settings)
        self.best: dict[str, Tensor] = {}
        self.step = 0
        self.history: list[dict[str, float | None]] = []
        self.timings: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.earlier_s = 0.0  # seconds of training before a stop

    def go(self) -> TrainingResult:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling new memory costs time and only helps to find defects.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if self._restore_finished():
            return TrainingResult(self.history, restored=True)
        self._restore_rolling()
        if not self.devices.first:  # each process drops out other units
            torch.manual_seed(hash((self.seed, self.step, self.devices.index)))
        self.began, self.began_step, self.counted = time.perf_counter(), self.step, 0
        while self.step < self.settings.steps and not self._is_over():
            norm = self._train_step()
            self._after_step(norm)
        weights = self._weights() if self.settings.use == "last" or not self.best else self.best
        self.model.load_state_dict(weights)
        if self.devices.first:
            self.state.save(self.state.finished, {"model": weights, "history": self.history})
            self.state.rolling.unlink(missing_ok=True)
        return TrainingResult(self.history, self.timings)

    def _is_over(self) -> bool:
        """Whether the validation loss has not fallen for longer than patience."""
        losses, patience = self._valid_losses(), self.settings.patience
        if patience is None or not losses or _since_lowest(losses) < patience:
            return False
        log.info("stopped early at step %d: no lower loss in %d validations", self.step, patience)
        return True

    def _valid_losses(self) -> list[float]:
        return [row["valid_loss"] for row in self.history if row["valid_loss"] is not None]

    def _train_step(self) -> float:
        settings = self.settings
        self.model.train()
        set_rates(self.optimiser, self.step, settings)
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(settings.accumulate):
            total += self._add_gradients(part) / settings.accumulate
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm).item()
        if not math.isfinite(total) or not math.isfinite(norm):
            raise UserError(
                f"the loss is no longer a number at step {self.step}",
                code="training-diverged",
                where=str(self.state.folder),
                why="training diverged",
                do="lower the learning rate or raise warmup_steps of this stage",
            )
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1
        self.losses.append(total)
        return norm

    def _add_gradients(self, part: int) -> float:
        """Run one of the parts of a step -> its loss."""
        settings, devices = self.settings, self.devices
        index, last = self.step * settings.accumulate + part, part == settings.accumulate - 1
        batch = self._to_device(
            training_batch(
                self.train, settings.batch_size, index, self.seed, devices.index, devices.count
            )
        )
        self.flops += self.flops_of(self.model, batch)  # of this device
        with devices.accumulating(self.module, last):
            with devices.autocast():
                loss, figures = self.module(batch)
            devices.backward(loss / settings.accumulate, figures["count"])
        losses, count = devices.total(loss.item() * figures["count"], figures["count"])
        self.counted += int(count)
        return losses / max(count, 1)

    def _after_step(self, norm: float) -> None:
        settings, step = self.settings, self.step
        over = step == settings.steps
        validate = step % settings.validate_every == 0 or over
        if validate or step % LOG_EVERY == 0:
            self._write_row(norm, validate)
        if step in settings.keep_steps and self.devices.first:
            with atomic(self.state.kept(step)) as temporary:
                save_file(self._weights(), temporary)
        stop = bool(self.devices.total(self.hooks.should_stop())[0]) and not over
        if stop or step % settings.save_every == 0:
            self._save_rolling()
        if stop:
            log.warning("stopped at step %d of %d; the state is saved", step, settings.steps)
            raise Interrupted(str(self.state.folder))

    def _write_row(self, norm: float, validate: bool) -> None:
        row: dict[str, float | None] = dict.fromkeys(history_columns(self.figures, self.settings))
        row |= {
            "step": self.step,
            "train_loss": sum(self.losses) / len(self.losses),
            **learning_rates(self.step - 1, self.settings),
            "gradient_norm": norm,
        }
        self.losses = []
        if validate and self.valid is not None and len(self.valid):
            row |= self._validate()
        if validate and self.devices.first:
            auditioned = self.hooks.on_validate(self.step, self._validated()) or {}
            row |= {name: value for name, value in auditioned.items() if name in row}
        self.history.append(row)
        validated = row["valid_loss"] is not None
        if self.settings.use == "best" and validated and not _since_lowest(self._valid_losses()):
            self.best = {name: weight.clone() for name, weight in self._weights().items()}
        self._tell(row)

    def _validate(self) -> dict[str, float]:
        """Mean loss and figures over all that the validation items count, not over batches."""
        assert self.valid is not None
        model, devices = self._validated().eval(), self.devices
        names = [f.name for f in self.figures if f.of_loss is None and not f.from_audition]
        total, count, sums, counts = 0.0, 0.0, [0.0] * len(names), [0.0] * len(names)
        size, limit = self.settings.batch_size, self.settings.validate_items
        with torch.inference_mode(), devices.autocast():
            for batch in validation_batches(self.valid, size, limit, devices.index, devices.count):
                loss, figures = model.loss(self._to_device(batch))  # type: ignore[operator]
                total += loss.item() * figures["count"]
                count += figures["count"]
                for i, name in enumerate(names):  # another mean has its own count
                    weight = figures.get(f"{name}_count", figures["count"])
                    sums[i] += figures[name] * weight
                    counts[i] += weight
        total, count, *both = devices.total(total, count, *sums, *counts)
        mean = total / max(count, 1)
        pairs = zip(both[: len(names)], both[len(names) :], strict=True)
        found = {name: s / max(n, 1) for name, (s, n) in zip(names, pairs, strict=True)}
        found |= {f.name: f.of_loss(mean) for f in self.figures if f.of_loss is not None}
        return {"valid_loss": mean} | found

    def _tell(self, row: dict[str, float | None]) -> None:
        seconds = time.perf_counter() - self.began
        done = self.step - self.began_step
        rate = self.counted / max(seconds, 1e-9)
        eta = seconds / max(done, 1) * (self.settings.steps - self.step)
        self.timings.append(
            {
                "step": self.step,
                "seconds": round(self.earlier_s + seconds, 3),
                "tokens_per_second": round(rate, 1),
                "mfu": round(self.flops / seconds / self.peak, 4) if self.peak else "",
            }
        )
        if not self.devices.first:
            return
        rows = len(self.history)
        if rows % max(rows // SHOWN_ROWS, 1) == 0 or self.step == self.settings.steps:
            write_history(self.state.history, list(row), self.history)
        self.hooks.on_row(row)
        loss = float(row["train_loss"] or 0)
        self.hooks.progress(Progress(self.step, self.settings.steps, done, loss, rate, eta))

    def _validated(self) -> nn.Module:
        """The network that is validated and written: the average where there is one."""
        return self.model if self.average is None else self.average.module

    def _weights(self) -> dict[str, Tensor]:
        return on_cpu(self._validated())

    def _to_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _save_rolling(self) -> None:
        if not self.devices.first:
            return
        content: dict[str, Any] = {
            "step": self.step,
            "model": on_cpu(self.model),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "history": self.history,
            "losses": self.losses,
            "timings": self.timings,
            "seconds": self.earlier_s + time.perf_counter() - self.began,
        }
        if self.average is not None:
            content["average"] = self.average.state_dict()
        if self.device.type == "cuda":
            content["cuda_random"] = torch.cuda.get_rng_state_all()
        self.state.save(self.state.rolling, content)

    def _restore_rolling(self) -> None:
        saved = self.state.load(self.state.rolling)
        if saved is None:
            return
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["random"])
        if self.device.type == "cuda" and "cuda_random" in saved:
            torch.cuda.set_rng_state_all(saved["cuda_random"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.best = saved["best"]
        self.step, self.history, self.losses = saved["step"], saved["history"], saved["losses"]
        self.timings, self.earlier_s = saved["timings"], saved["seconds"]
        log.info("going on from step %d of %d", self.step, self.settings.steps)

    def _restore_finished(self) -> bool:
        saved = self.state.load(self.state.finished)
        if saved is None:
            return False
        made = [step for step in self.settings.keep_steps if step <= saved["history"][-1]["step"]]
        if not all(self.state.kept(step).is_file() for step in made):
            return False
        self.model.load_state_dict(saved["model"])
        self.history = saved["history"]
        log.info("this training is finished already; its weights are taken as they are")
        return True


def average_of(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """A moving average of the weights; while it is young it follows them faster.

    The decay is min(decay, (1 + n) / (10 + n)) after n updates, as in TensorFlow's
    ExponentialMovingAverage, so that short trainings are not averages of their beginning.
    """
    if decay is None:
        return None

    def mix(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        kept = min(decay, (1 + int(updates)) / (10 + int(updates)))
        return averaged.lerp(current, 1 - kept)

    return AveragedModel(model, avg_fn=mix)


def _since_lowest(losses: list[float]) -> int:
    """Validations after the first of the lowest losses."""
    return len(losses) - 1 - losses.index(min(losses))
