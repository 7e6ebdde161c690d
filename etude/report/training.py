"""Curves and final figures of every stage, all training seeds in one panel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etude.report.charts import Panel, Points, panel
from etude.report.figures import Row, duration, in_order, rows_of
from etude.results.leaderboard import number

COLUMNS = (("train", "train_loss"), ("valid", "valid_loss"))


@dataclass(frozen=True)
class Outcome:
    """How the training of one stage and seed ended; losses in nats per token."""

    stage: str
    seed: str
    steps: int
    train_loss: float | None
    valid_loss: float | None
    best_loss: float | None
    accuracy: float | None
    seconds: float | None
    tokens_per_second: float | None


@dataclass(frozen=True)
class TrainingSection:
    """The stages of one experiment."""

    experiment: str
    panels: list[Panel]
    outcomes: list[Outcome]

    @property
    def seeds(self) -> int:
        """How many training seeds there are."""
        return len({outcome.seed for outcome in self.outcomes})

    @property
    def summary(self) -> str:
        """Steps of each stage, and how long all of it took; of restored trainings no time."""
        steps = {one.stage: one.steps for one in self.outcomes}
        sentence = (
            f"Trained for {', '.join(f'{n:,} steps ({stage})' for stage, n in steps.items())}"
        )
        sentence += f" with {self.seeds} seeds" * (self.seeds > 1)
        known = [one.seconds for one in self.outcomes if one.seconds is not None]
        return sentence + f", {duration(sum(known))} in all." if known else f"{sentence}."


def read_training(experiment: str, histories: list[Path]) -> TrainingSection | None:
    """Curves of an experiment; None where nothing was trained.

    Args:
        histories: its models/{experiment}/{stage}/seed-{seed}/history.csv, in the order of the
            stages.
    """
    panels, outcomes = [], []
    for stage in dict.fromkeys(path.parents[1].name for path in histories):
        curves: list[tuple[str, Points]] = []
        for path in in_order(path for path in histories if path.parents[1].name == stage):
            if history := list(rows_of(path)):
                curves += [(kind, _points(history, column)) for kind, column in COLUMNS]
                timings = list(rows_of(path.with_name("timings.csv")))
                seed = path.parent.name.removeprefix("seed-")
                outcomes.append(_outcome(stage, seed, history, timings))
        curves += [("mean", mean)] if (mean := _mean(curves)) else []
        drawn = panel(stage, [curve for curve in curves if curve[1]])
        panels += [drawn] if drawn else []
    return TrainingSection(experiment, panels, outcomes) if outcomes else None


def _mean(curves: list[tuple[str, Points]]) -> Points:
    """The mean validation loss over seeds, at steps that all of them have."""
    valid = [dict(points) for kind, points in curves if kind == "valid" and points]
    if len(valid) < 2:
        return []
    steps = sorted(set.intersection(*(set(points) for points in valid)))
    return [(step, sum(points[step] for points in valid) / len(valid)) for step in steps]


def _points(history: list[Row], column: str) -> Points:
    pairs = ((number(row.get("step")), number(row.get(column))) for row in history)
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def _outcome(stage: str, seed: str, history: list[Row], timings: list[Row]) -> Outcome:
    columns = ("train_loss", "valid_loss", "accuracy")
    train, valid, accuracy = ([y for _, y in _points(history, c)] for c in columns)
    # A training that was restored as it was has no timings of its own.
    last = timings[-1] if timings else {}
    return Outcome(
        stage=stage,
        seed=seed,
        steps=int(number(history[-1].get("step")) or 0),
        train_loss=train[-1] if train else None,
        valid_loss=valid[-1] if valid else None,
        best_loss=min(valid, default=None),
        accuracy=accuracy[-1] if accuracy else None,
        seconds=number(last.get("seconds")),
        tokens_per_second=number(last.get("tokens_per_second")),
    )
