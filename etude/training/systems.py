"""What the common training asks of a system: its networks, its data, what decides a result.

A new system adds one class here and its name to SYSTEMS; the loop, states, resume, history, cards
and imports are the same for all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import nn

from etude.config import TrainedExperiment
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.systems.audiolm import stages as audiolm
from etude.systems.audiolm.building import build_stage, stage_class
from etude.systems.symbolic_lm import stage as symbolic
from etude.training.data import Data, PackedData


class System(Protocol):
    """One system's part in training."""

    title: str  # in cards
    items: str  # what a training sequence is, in cards and errors
    version: int  # of its networks

    def build(self, experiment: Any, stage: str, info: dict[str, Any], seed: int) -> nn.Module:
        """A freshly initialised stage with the training's own settings."""

    def shape(self, experiment: Any, stage: str, info: dict[str, Any]) -> dict[str, Any]:
        """What of the data's shape decides the stage's training."""

    def data(
        self,
        experiment: Any,
        stage: str,
        packed: Path,
        info: dict[str, Any],
        tokenizer: Path | None,
    ) -> tuple[Data, Data]:
        """Training and validation data."""


class AudioLmSystem:
    """Three transformers over discrete audio tokens."""

    title, items, version = "AudioLM", "segments", audiolm.VERSION

    def build(  # noqa: D102
        self, experiment: Any, stage: str, info: dict[str, Any], seed: int
    ) -> nn.Module:
        model = build_stage(experiment, stage, info, seed)
        training = getattr(experiment.stages, stage).training
        model.label_smoothing = training.label_smoothing
        model.forgetful_mask = training.forgetful_mask
        return model

    def shape(self, experiment: Any, stage: str, info: dict[str, Any]) -> dict[str, Any]:  # noqa: D102
        shape = audiolm.audiolm_shape(experiment, info)
        wanted = stage_class(stage, getattr(experiment.stages, stage).network)
        keys = (*audiolm.COMMON_KEYS, *wanted.shape_keys)
        backend = {"backend": wanted.version} if experiment.library_stages(stage) else {}
        return {key: shape[key] for key in keys} | backend

    def data(  # noqa: D102
        self,
        experiment: Any,
        stage: str,
        packed: Path,
        info: dict[str, Any],
        tokenizer: Path | None,
    ) -> tuple[Data, Data]:
        items = getattr(experiment.stages, stage).training.train_items
        train = PackedData(packed / "train", info["quantizers"], items)
        return train, PackedData(packed / "valid", info["quantizers"])


class SymbolicLmSystem:
    """One language model of symbols."""

    title, items, version = "symbolic language model", "windows", symbolic.VERSION

    def build(  # noqa: D102
        self, experiment: SymbolicLm, stage: str, info: dict[str, Any], seed: int
    ) -> nn.Module:
        model = symbolic.build_stage(experiment, stage, info, seed)
        model.label_smoothing = experiment.stages.lm.training.label_smoothing
        return model

    def shape(  # noqa: D102
        self, experiment: SymbolicLm, stage: str, info: dict[str, Any]
    ) -> dict[str, Any]:
        return symbolic.symbolic_shape(experiment, info)

    def data(  # noqa: D102
        self,
        experiment: SymbolicLm,
        stage: str,
        packed: Path,
        info: dict[str, Any],
        tokenizer: Path | None,
    ) -> tuple[Data, Data]:
        from etude.systems.symbolic_lm.data import open_data

        return open_data(packed, info, experiment.stages.lm.training, tokenizer)


SYSTEMS: dict[str, System] = {"audiolm": AudioLmSystem(), "symbolic_lm": SymbolicLmSystem()}


def system_of(experiment: TrainedExperiment) -> System:
    """The part of an experiment's system."""
    return SYSTEMS[experiment.system]
