"""AudioLM as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from etude.config.systems.audiolm import AudioLm
from etude.systems.audiolm.beginnings import beginnings
from etude.systems.audiolm.building import build_stage, load_stage, stage_class
from etude.systems.audiolm.data import PackedData
from etude.systems.audiolm.networks import build_network
from etude.systems.audiolm.stages import COMMON_KEYS, AudioLmStage, audiolm_shape
from etude.systems.base import Audition, Batch, Beginnings, Data, Figure, Parts, SystemBase
from etude.systems.stage_module import OF_TOKENS, transformer_flops

CODEBOOKS = [2, 16]  # ids, for a network that is only tried


class AudioLmSystem(SystemBase):
    """Three transformers over discrete audio tokens."""

    title, items = "AudioLM", "segments"
    loss_name = "cross-entropy"

    # -------------------------------------------------------------------------------- training

    def build(self, experiment: AudioLm, stage: str, parts: Parts, seed: int) -> AudioLmStage:  # noqa: D102
        model = build_stage(experiment, stage, parts.info, seed)
        training = experiment.stage(stage).training
        model.label_smoothing = training.label_smoothing
        model.forgetful_mask = training.forgetful_mask
        return model

    def shape(self, experiment: AudioLm, stage: str, parts: Parts) -> dict[str, Any]:  # noqa: D102
        shape = audiolm_shape(experiment, parts.info)
        wanted = stage_class(stage, experiment.stage(stage).network)
        keys = (*COMMON_KEYS, *wanted.shape_keys)
        backend = {"backend": wanted.version} if experiment.library_stages(stage) else {}
        return {key: shape[key] for key in keys} | backend

    def data(self, experiment: AudioLm, stage: str, parts: Parts) -> tuple[Data, Data]:  # noqa: D102
        assert parts.packed is not None
        items, quantizers = experiment.stage(stage).training.train_items, parts.info["quantizers"]
        train = PackedData(parts.packed / "train", quantizers, items)
        return train, PackedData(parts.packed / "valid", quantizers)

    def figures(self, stage: str) -> tuple[Figure, ...]:  # noqa: D102
        return OF_TOKENS

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        return "nats per token"

    def flops(self, model: nn.Module, batch: Batch) -> float:  # noqa: D102
        assert isinstance(model, AudioLmStage)
        rows, length = batch["semantic"].shape[0], len(model.targets)
        return transformer_flops(model, model.settings, rows, length)

    def audition(self, parts: Parts) -> Callable[[Any], Audition]:  # noqa: D102
        from etude.systems.audiolm.audition import Listener

        return Listener(parts)

    def load(self, folder: Path, parts: Parts) -> AudioLmStage:  # noqa: D102
        return load_stage(folder)

    def try_network(self, network: Any) -> None:  # noqa: D102
        build_network(CODEBOOKS, network)

    # ------------------------------------------------------------------------------- generation

    # ------------------------------------------------------------------------------- evaluation

    def continuation(self, parts: Parts, settings: Any, seed: int) -> Beginnings:  # noqa: D102
        return beginnings(parts, settings, seed)
