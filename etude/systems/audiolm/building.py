"""Which class a stage of AudioLM is, by its name and its network; stages made and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from etude.config.networks import PluginNetwork
from etude.config.systems.audiolm import AudioLm, AudioLmPytorch, Network
from etude.systems.audiolm.networks import read_network
from etude.systems.audiolm.stages import (
    AudioLmStage,
    CoarseStage,
    FineStage,
    SemanticStage,
    audiolm_shape,
)
from etude.systems.weights import read_stage_config

STAGES: dict[str, type[AudioLmStage]] = {
    stage.stage: stage for stage in (SemanticStage, CoarseStage, FineStage)
}


def stage_class(
    stage: str, network: Network | AudioLmPytorch | PluginNetwork
) -> type[AudioLmStage]:
    """The class of a stage with this network."""
    if isinstance(network, AudioLmPytorch):
        from etude.systems.audiolm.audiolm_pytorch import LIBRARY_STAGES

        return LIBRARY_STAGES[stage]
    return STAGES[stage]


def build_stage(experiment: AudioLm, stage: str, packed: dict[str, Any], seed: int) -> AudioLmStage:
    """A freshly initialised stage; the same seed gives the same weights.

    Raises:
        UserError: its network is of a package that is not installed.
    """
    torch.manual_seed(seed)
    network = experiment.stage(stage).network
    return stage_class(stage, network)(audiolm_shape(experiment, packed), network)


def load_stage(folder: Path) -> AudioLmStage:
    """Build a trained stage from its folder, ready to sample.

    Raises:
        UserError: when the folder holds no stage or one of another version, or its network is of
            a package that is not installed.
    """
    config = read_stage_config(folder)
    return stage_class(config["stage"], read_network(config["network"])).load(folder)
