"""A language model of notes as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from etude.config.systems.symbolic_lm import SymbolicLm
from etude.systems.base import Batch, Beginnings, Data, Figure, Ids, Parts, SystemBase
from etude.systems.stage_module import OF_TOKENS, transformer_flops
from etude.systems.symbolic_lm import families
from etude.systems.symbolic_lm.beginnings import beginnings
from etude.systems.symbolic_lm.data import open_data
from etude.systems.symbolic_lm.stage import (
    SymbolicLmStage,
    build_stage,
    load_stage,
    score,
    symbolic_shape,
)

SYMBOLS = {"vocabulary": 16, "context": 32}  # for a network that is only tried


class SymbolicLmSystem(SystemBase):
    """One language model of symbols."""

    title, items = "symbolic language model", "windows"
    loss_name = "cross-entropy"

    # -------------------------------------------------------------------------------- training

    def build(self, experiment: SymbolicLm, stage: str, parts: Parts, seed: int) -> SymbolicLmStage:  # noqa: D102
        model = build_stage(experiment, stage, parts.info, seed)
        model.label_smoothing = experiment.stage(stage).training.label_smoothing
        return model

    def shape(self, experiment: SymbolicLm, stage: str, parts: Parts) -> dict[str, Any]:  # noqa: D102
        return symbolic_shape(experiment, parts.info)

    def data(self, experiment: SymbolicLm, stage: str, parts: Parts) -> tuple[Data, Data]:  # noqa: D102
        assert parts.packed is not None
        training = experiment.stages.lm.training
        return open_data(parts.packed, parts.info, training, parts.tokenizers.get("tokenizer"))

    def figures(self, stage: str) -> tuple[Figure, ...]:  # noqa: D102
        return OF_TOKENS

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        return "nats per token"

    def flops(self, model: nn.Module, batch: Batch) -> float:  # noqa: D102
        rows, length = batch["ids"].shape
        return transformer_flops(model, model.settings, rows, length - 1)

    def load(self, folder: Path, parts: Parts) -> SymbolicLmStage:  # noqa: D102
        return load_stage(folder, parts.tokenizers.get("tokenizer"))

    def try_network(self, network: Any) -> None:  # noqa: D102
        families.build_network(network, SYMBOLS)

    # ------------------------------------------------------------------------------- generation

    # ------------------------------------------------------------------------------- evaluation

    def continuation(self, parts: Parts, settings: Any, seed: int) -> Beginnings:  # noqa: D102
        return beginnings(parts, settings, seed)

    def nats(  # noqa: D102
        self, stage: SymbolicLmStage, windows: Sequence[tuple[str, Ids, int]]
    ) -> list[NDArray[np.float64]]:
        return score(stage, windows)
