"""Listening to a stage while it trains: clips and figures at each validation.

Each stage is heard on its own, given held-out tokens for what comes before it: the coarse stage
gets real semantic tokens, the fine stage real coarse codes. The semantic stage cannot be heard; how
often its tokens change is compared with the held-out music's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from etude.audio.tempered import tempered_share
from etude.clips.sampling import ClipStreams
from etude.config import Sampling
from etude.systems.audiolm.data import PackedData
from etude.systems.audiolm.sampling import continue_sequence
from etude.systems.audiolm.stages import (
    AudioLmStage,
    CoarseStage,
    FineStage,
    SemanticStage,
    unflatten_frames,
)
from etude.systems.base import Audition, Parts
from etude.tokenizers.registry import load_tokenizer

CLIPS = 4


class PrimeListener:
    """`listener(stage) -> Audition`: the same held-out segments and the same draws every time."""

    def __init__(self, parts: Parts) -> None:
        assert parts.packed is not None
        self.codec = load_tokenizer(parts.tokenizers["acoustic"])
        for split in ("valid", "train"):  # the latter where nothing is held out
            data = PackedData(parts.packed / split, parts.info["quantizers"])
            if len(data):
                break
        chosen = np.linspace(0, len(data) - 1, min(CLIPS, len(data))).round().astype(int)
        self.batch = data.batch(chosen.tolist())

    @torch.inference_mode()
    def __call__(self, stage: AudioLmStage) -> Audition:
        """Sample a few segments from a stage as it is now."""
        stage.eval()
        if isinstance(stage, SemanticStage):
            return self._semantic(stage)
        codes = self._coarse(stage) if isinstance(stage, CoarseStage) else self._fine(stage)
        waves = self.codec.decode(codes).cpu().numpy()
        rate = int(self.codec.sample_rate)
        harmony = float(np.nanmean([tempered_share(w.astype(np.float64), rate) for w in waves]))
        return Audition({"et_grid": harmony}, list(waves), rate)

    def _sample(self, stage: AudioLmStage, given: Tensor, count: int) -> Tensor:
        streams = ClipStreams(list(range(len(given))), stage.device)
        return continue_sequence(stage, given.to(stage.device), count, streams, Sampling()).cpu()

    def _semantic(self, stage: SemanticStage) -> Audition:
        real = self.batch["semantic"]
        begin = torch.zeros((len(real), 1), dtype=torch.long)
        sampled = self._sample(stage, begin, real.shape[1])
        rates = {"change_rate": _change_rate(sampled), "change_rate_real": _change_rate(real)}
        return Audition(rates, [], 0)

    def _coarse(self, stage: CoarseStage) -> Tensor:
        quantizers = stage.shape["coarse_quantizers"]
        given = stage.prefix(self.batch["semantic"])
        sampled = self._sample(stage, given, stage.shape["acoustic_frames"] * quantizers)
        return unflatten_frames(sampled, quantizers)

    def _fine(self, stage: AudioLmStage) -> Tensor:
        assert isinstance(stage, FineStage)
        coarse = self.batch["acoustic"][:, : stage.shape["coarse_quantizers"], : stage.frames]
        quantizers = stage.shape["quantizers"] - stage.shape["coarse_quantizers"]
        sampled = self._sample(stage, stage.prefix(coarse), stage.frames * quantizers)
        return torch.cat([coarse, unflatten_frames(sampled, quantizers)], dim=1)


def _change_rate(ids: Tensor) -> float:
    """Share of frames whose token differs from the one before."""
    return float((ids[:, 1:] != ids[:, :-1]).double().mean())
