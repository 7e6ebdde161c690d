"""A stage's network as Étude keeps it: model.safetensors and config.json in the stage's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from safetensors.torch import save_file
from torch import Tensor, nn

from etude.storage import atomic, write_json
from etude.systems.weights import (
    TRAIN_AGAIN,
    check_version,
    load_weights,
    on_cpu,
    read_stage_config,
    read_weights,
)
from etude.workflow.given_weights import MODEL


class StageNetwork(nn.Module):
    """A StageModel but for `loss`: what is built of a shape alone needs no more.

    Args:
        stage: its name.
        shape: all that fixes the network, as JSON can hold it.
    """

    version: ClassVar[int] = 1  # of the files; raised when older ones cannot be read

    def __init__(self, stage: str, shape: dict[str, Any]) -> None:
        super().__init__()
        self.stage, self.shape = stage, shape
        self.label_smoothing = 0.0  # in training only; set from the configuration

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """What config.json holds; `tokenizers` are hashes by role."""
        shape = {"stage": self.stage, "shape": self.shape, "version": self.version}
        return {**shape, "tokenizers": dict(tokenizers)}

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """Write model.safetensors and config.json; `tokenizers` as in `config`."""
        with atomic(folder / MODEL) as temporary:
            save_file(on_cpu(self), temporary)
        write_json(folder / "config.json", self.config(tokenizers or {}))

    def accept(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights from elsewhere under this stage's own names: they must have them."""
        return tensors

    @classmethod
    def restore(cls, folder: Path) -> Self:
        """The stage that `save` wrote, ready to use.

        Raises:
            UserError: none is there, or one of another version or shape.
        """
        config = read_stage_config(folder)
        check_version(folder, config["version"], cls.version)
        stage = cls(config["stage"], config["shape"])
        load_weights(stage, read_weights(folder / MODEL), folder / MODEL, do=TRAIN_AGAIN)
        return stage.eval()
