"""Listening to a stage while it trains: clips and figures at each validation.

Each stage is heard on its own, given held-out tokens for what comes before it: the coarse stage
gets real semantic tokens, the fine stage real coarse codes. The semantic stage cannot be heard; how
often its tokens change is compared with the held-out music's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from etude.clips.sampling import ClipStreams
from etude.config import Sampling
from etude.metrics.signals import tempered_share
from etude.storage import read_json
from etude.systems.audiolm.sampling import continue_sequence
from etude.systems.audiolm.stages import (
    AudioLmStage,
    CoarseStage,
    FineStage,
    SemanticStage,
    unflatten_frames,
)
from etude.tokenizers.registry import load
from etude.training.data import PackedData
from etude.training.stage import Heard

CLIPS = 4


class Audition:
    """`audition(stage) -> Heard`: the same held-out segments and the same draws every time.

    Args:
        data: the validation split (or the training split where that is empty).
        acoustic: folder of the codec.
    """

    def __init__(self, data: PackedData, acoustic: Path) -> None:
        self.codec = load(acoustic)
        chosen = np.linspace(0, len(data) - 1, min(CLIPS, len(data))).round().astype(int)
        self.batch = data.batch(chosen.tolist())

    @torch.inference_mode()
    def __call__(self, stage: AudioLmStage) -> Heard:
        """Sample a few segments from a stage as it is now."""
        stage.eval()
        if isinstance(stage, SemanticStage):
            return self._semantic(stage)
        codes = self._coarse(stage) if isinstance(stage, CoarseStage) else self._fine(stage)
        waves = self.codec.decode(codes).cpu().numpy()
        rate = int(self.codec.sample_rate)
        harmony = float(np.nanmean([tempered_share(w.astype(np.float64), rate) for w in waves]))
        return Heard({"et_grid": harmony}, list(waves), rate)

    def _sample(self, stage: AudioLmStage, given: Tensor, count: int) -> Tensor:
        streams = ClipStreams(list(range(len(given))), stage.device)
        return continue_sequence(stage, given.to(stage.device), count, streams, Sampling()).cpu()

    def _semantic(self, stage: SemanticStage) -> Heard:
        real = self.batch["semantic"]
        begin = torch.zeros((len(real), 1), dtype=torch.long)
        sampled = self._sample(stage, begin, real.shape[1])
        rates = {"change_rate": _change_rate(sampled), "change_rate_real": _change_rate(real)}
        return Heard(rates, [], 0)

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


def open_audition(packed: Path, acoustic: Path) -> Audition:
    """An audition on the validation split; on the training split where there is none."""
    quantizers = read_json(packed / "info.json")["quantizers"]
    for split in ("valid", "train"):
        data = PackedData(packed / split, quantizers)
        if len(data):
            break
    return Audition(data, acoustic)


def _change_rate(ids: Tensor) -> float:
    """Share of frames whose token differs from the one before."""
    return float((ids[:, 1:] != ids[:, :-1]).double().mean())
