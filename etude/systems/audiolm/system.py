"""AudioLM as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import etude
from etude.config.systems.audiolm import AudioLm
from etude.systems.audiolm.building import STAGES, build_stage, load_stage, stage_class
from etude.systems.audiolm.codebook_transformer import CodebookLayout
from etude.systems.audiolm.data import PackedData
from etude.systems.audiolm.networks import build_network, can_cache
from etude.systems.audiolm.prefixes import extract_prefixes
from etude.systems.audiolm.stages import COMMON_KEYS, AudioLmStage, audiolm_shape
from etude.systems.base import (
    Audition,
    Batch,
    Beginnings,
    ClipSet,
    Codec,
    Data,
    Parts,
    RealMusic,
    SystemBase,
    TrainingMetric,
)
from etude.systems.network_check import LENGTH, VOCABULARY, try_causal
from etude.systems.stage_module import OF_TOKENS, transformer_flops

if TYPE_CHECKING:
    from etude.systems.audiolm.player import AudioLmPlayer


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

    def figures(self, stage: str) -> tuple[TrainingMetric, ...]:  # noqa: D102
        return OF_TOKENS

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        return "nats per token"

    def flops(self, model: nn.Module, batch: Batch) -> float:  # noqa: D102
        assert isinstance(model, AudioLmStage)
        rows, length = batch["semantic"].shape[0], len(model.targets)
        return transformer_flops(model, model.settings, rows, length)

    def audition(self, parts: Parts) -> Callable[[Any], Audition]:  # noqa: D102
        from etude.systems.audiolm.audition import PrimeListener

        return PrimeListener(parts)

    def load(self, folder: Path, parts: Parts) -> AudioLmStage:  # noqa: D102
        return load_stage(folder)

    def try_network(self, network: Any) -> None:  # noqa: D102
        model = build_network([2, VOCABULARY], network).eval()
        layout = CodebookLayout(torch.tensor([0] + [1] * (LENGTH - 1)), torch.arange(LENGTH) * 1.0)

        def logits(ids: Tensor) -> Tensor:
            found: Tensor = model.logits(model(ids, layout[: ids.shape[1]]), 1)
            return found

        def cached(ids: Tensor, prompt: int) -> Tensor:
            cache, ends = model.cache(len(ids), LENGTH), range(prompt, LENGTH + 1)
            spans = [slice(0, prompt), *(slice(end - 1, end) for end in ends[1:])]
            hidden = [model(ids[:, span], layout[span], cache)[:, -1:] for span in spans]
            found: Tensor = model.logits(torch.cat(hidden, 1), 1)
            return found

        try_causal(network.kind, logits, cached if can_cache(model) else None)

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: AudioLm, parts: Parts) -> AudioLmPlayer:  # noqa: D102
        from etude.systems.audiolm.player import make_player

        stages = {name: load_stage(parts.models[name]) for name in STAGES}
        return make_player(stages, parts.tokenizers)

    def codec(self, parts: Parts) -> Codec:  # noqa: D102
        from etude.systems.audiolm.baselines import codec

        return codec(parts)

    def baselines(  # noqa: D102
        self, experiment: AudioLm, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        from etude.systems.audiolm.baselines import baselines

        return baselines(experiment, parts, real, seed)

    def card(self, player: AudioLmPlayer) -> dict[str, Any]:  # noqa: D102
        return {"window": f"{player.generator.window_seconds:g} s"}

    card_tags = ("music", "audio", "audio-generation", "audiolm")
    card_text = f"""\
A generator of music: AudioLM (Borsos et al., arXiv 2209.03143) as Étude {etude.__version__} trains
it, three transformers over discrete audio tokens, with the tokenizers that make and play them.

    python -m etude generate --from FOLDER --duration 8 --batch_size 4 --output track

plays it (FOLDER: where this lies) in Étude's environment, from any directory; neither Snakemake nor
the corpus is needed. To train them further on other music, name this folder as `weights` of a
stage, and its tokenizers/semantic and tokenizers/acoustic as `fit.folder` of the tokenizers."""

    # ------------------------------------------------------------------------------- evaluation

    def continuation(self, parts: Parts, settings: Any, seed: int) -> Beginnings:  # noqa: D102
        return extract_prefixes(parts, settings, seed)
