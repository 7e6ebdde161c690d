"""What the trained stages of all systems share: a network with a loss, and its folder.

A new system takes `StageModule` for its stages and `StagedSystem` for its heavy half; what it must
write itself is `loss`, `shape` and `data`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel
from safetensors.torch import save_file
from torch import Tensor, nn

from etude.errors import UserError
from etude.storage import atomic, write_json
from etude.systems.base import Batch, Parts, SystemBase, TrainingMetric
from etude.systems.weights import (
    TRAIN_AGAIN,
    check_version,
    load_weights,
    on_cpu,
    read_stage_config,
    read_weights,
)
from etude.workflow.imported_weights import MODEL

# Figures of whatever predicts tokens; `cross_entropy` gives them. An untrained network's loss may
# be so high that its exponential overflows, hence the bound.
OF_TOKENS = (
    TrainingMetric("perplexity", "per token", of_loss=lambda mean: math.exp(min(mean, 50))),
    TrainingMetric("accuracy", "share", better="higher"),
)


class StageModule(nn.Module):
    """One trained part of a system.

    A subclass names its `stage` and builds its networks from `shape` and `settings` alone, so that
    its folder has all that is needed to build it again.

    Args:
        shape: what of the data fixes the networks, as JSON has it.
        settings: the `network` of the stage's configuration, or None.
    """

    stage: ClassVar[str] = ""
    version: ClassVar[int] = 1  # of its networks and format; folders of another are refused
    Settings: ClassVar[type[BaseModel] | None] = None  # the class of `settings`
    metadata: ClassVar[dict[str, str] | None] = None  # of model.safetensors

    def __init__(self, shape: Mapping[str, Any], settings: Any = None) -> None:
        super().__init__()
        self.shape = dict(shape)
        self.settings = settings

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def body(self) -> nn.Module:
        """Where the layers are that compute: this module, unless it trains parts of another."""
        return self

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean loss, and figures: `count`, what it is a mean over, and the system's own."""
        raise NotImplementedError

    def accept(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights from elsewhere under this stage's own names."""
        return tensors

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """What config.json holds; `tokenizers` are hashes by role."""
        return {
            "stage": self.stage,
            "shape": self.shape,
            "version": self.version,
            "network": {} if self.settings is None else self.settings.model_dump(),
            "tokenizers": dict(tokenizers),
        }

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """Write model.safetensors and config.json; `tokenizers` as in `config`."""
        with atomic(folder / MODEL) as temporary:
            save_file(on_cpu(self), temporary, self.metadata)
        write_json(folder / "config.json", self.config(tokenizers or {}))

    @classmethod
    def read_network(cls, values: Mapping[str, Any]) -> Any:
        """The settings that config.json holds."""
        return None if cls.Settings is None else cls.Settings.model_validate(values)

    @classmethod
    def blank(cls, shape: Mapping[str, Any], network: Any, folder: Path) -> Self:
        """A stage before its weights are loaded; a subclass may need more of its folder."""
        return cls(shape, network)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A trained stage from its folder, ready to use.

        Raises:
            UserError: no stage is there, or one of another version.
        """
        config = read_stage_config(folder)
        check_version(folder, config["version"], cls.version)
        stage = cls.blank(config["shape"], cls.read_network(config["network"]), folder)
        load_weights(stage, read_weights(folder / MODEL), folder / MODEL, do=TRAIN_AGAIN)
        return stage.eval()


class StagedSystem(SystemBase):
    """A system whose stages are classes with nothing to choose between."""

    stages: ClassVar[Mapping[str, type[StageModule]]] = {}

    def build(self, experiment: Any, stage: str, parts: Parts, seed: int) -> StageModule:  # noqa: D102
        torch.manual_seed(seed)
        network = experiment.stage(stage).network
        return self.stages[stage](self.shape(experiment, stage, parts), network)

    def load(self, folder: Path, parts: Parts) -> StageModule:  # noqa: D102
        name = read_stage_config(folder)["stage"]
        if name not in self.stages:
            raise UserError(
                f"this is a stage of another system: {name}",
                code="another-system",
                where=str(folder),
                why=f"{self.title or type(self).__name__} has: {', '.join(self.stages)}",
                do="name the folder of a stage of this system",
            )
        return self.stages[name].load(folder)


def cross_entropy(
    parts: Iterable[tuple[Tensor, Tensor]], smoothing: float, ignored: int
) -> tuple[Tensor, dict[str, float]]:
    """Mean cross-entropy in nats per predicted token, and accuracy with the count of tokens.

    Args:
        parts: logits [B, T, V] and the ids [B, T] that they should have foreseen.
        smoothing: share of the target that goes to all tokens alike.
        ignored: the id of targets that are not predicted.
    """
    total: Tensor | float = 0.0
    count = correct = 0
    for logits, wanted in parts:
        logits, wanted = logits.flatten(0, 1).float(), wanted.flatten()
        total = total + F.cross_entropy(
            logits, wanted, ignore_index=ignored, reduction="sum", label_smoothing=smoothing
        )
        with torch.no_grad():
            predicted = wanted != ignored
            count += int(predicted.sum())
            correct += int(((logits.argmax(-1) == wanted) & predicted).sum())
    assert isinstance(total, Tensor)
    return total / max(count, 1), {"accuracy": correct / max(count, 1), "count": count}


def transformer_flops(model: nn.Module, settings: Any, rows: int, length: int) -> float:
    """FLOPs of forward and backward over `rows` sequences of `length` positions.

    6 N + 12 L d T a position, as nanoGPT counts (Chowdhery et al., arXiv 2204.02311, appendix B).
    N: weights of linear layers, the output head's included; of several heads (`heads`), of which
    each position uses one, none. 0 where the settings tell neither layers nor width.
    """
    layers = getattr(settings, "depth", 0) or getattr(settings, "layers", 0)
    width = getattr(settings, "dim", 0)
    if not layers or not width:
        return 0.0
    weights = sum(
        part.weight.numel()
        for name, part in model.named_modules()
        if (isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D")
        and ".heads." not in name
    )
    return rows * length * float(6 * weights + 12 * layers * width * length)
