"""Semantic tokens as HuBERT's teachers made them: the nearest of k clusters of features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from etude.tokenizers.clustering import kmeans, nearest, sample_frames
from etude.tokenizers.fitted import FittedTokenizer, check_wave, fill_codebook

TRAINING_FRAMES = 40_000


class KMeansTokenizer(FittedTokenizer):
    """Standardised features of one kind, clustered."""

    scale_each_dimension: bool  # or all features by one deviation, keeping their proportions

    @abstractmethod
    def features(self, wave: Tensor) -> Tensor:
        """Features of one wave: [samples] to [samples // hop + 1, dim]."""

    @property
    def codebook_size(self) -> int:
        """Size of the vocabulary."""
        return int(self.settings.clusters)

    def frames(self, samples: int) -> int:
        """One frame for each hop that leaves a whole receptive field."""
        field = self.settings.receptive_field or self.settings.hop
        return max(0, (samples - field) // self.settings.hop + 1)

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Cluster a sample of the frames of waves [batch, samples].

        Raises:
            ValueError: if there are no waves or samples that are not finite.
        """
        seed = self.settings.fit.seed
        frames = sample_frames(batches, self._batch_features, TRAINING_FRAMES, seed)
        mean = frames.mean(0)
        deviation = (frames - mean).square().mean(0)
        if not self.scale_each_dimension:
            deviation = deviation.mean().expand_as(mean)
        deviation = deviation.sqrt().clamp(min=1e-5)
        scaled = (frames - mean) / deviation
        entries = kmeans(scaled, self.codebook_size, self.settings.iterations, seed)
        self.tensors = {
            "mean": mean,
            "deviation": deviation,
            "codebook": fill_codebook(entries, self.codebook_size),
        }

    def encode(self, wave: Tensor) -> Tensor:
        """[batch, samples] to [batch, frames] of int64; the batch does not change an item."""
        mean, deviation = self._tensor("mean"), self._tensor("deviation")
        features = self._batch_features(wave)
        scaled = (features - mean) / deviation
        labels = [nearest(item, self._tensor("codebook"))[0] for item in scaled]
        return torch.stack(labels) if labels else features.new_zeros(features.shape[:2]).long()

    def _batch_features(self, wave: Tensor) -> Tensor:
        wave = check_wave(wave)
        frames = self.frames(wave.shape[1])
        # Item by item: faster, since it stays in the cache, and equal for any batch.
        items = [self.features(item)[:frames] for item in wave]
        return torch.stack(items) if items else wave.new_zeros(0, frames, 1)
