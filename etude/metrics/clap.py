"""CLAP as an embedding (Wu et al., arXiv 2211.06687), by transformers' class.

Conventions
    Clips are read at 48 kHz, in windows of 10 s that move on by 1 s, as fadtk does; a shorter clip
    is repeated to 10 s, as the network's own feature extractor does. A window gives the projected
    audio embedding, not normalised. Distances are of the embeddings as they are: nothing is
    standardised or reduced, as in fadtk. The numbers are fadtk's only where the weights are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from etude.pretrained.networks import autocast, device, load_network
from etude.pretrained.origin import read_origin

VERSION = 1
WINDOW_SECONDS, HOP_SECONDS = 10, 1
BATCH = 8  # windows that the network hears at once

Array = NDArray[np.float64]


class Clap:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, windows, dim]`.

    Args:
        weights: a folder of results/pretrained/ of kind clap.
    """

    components = None  # distances are of the embeddings as they are
    deviation_floor = 0.0

    def __init__(self, weights: Path) -> None:
        from transformers import ClapFeatureExtractor

        self.network = load_network(weights, "clap")
        self.origin = read_origin(weights)
        self.extractor = ClapFeatureExtractor.from_pretrained(str(weights), local_files_only=True)
        self.sample_rate = int(self.extractor.sampling_rate)
        self.dim = int(self.network.config.projection_dim)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, windows, dim]; at least one window."""
        return np.stack([self._embed(item) for item in np.atleast_2d(wave)])

    @torch.inference_mode()
    def _embed(self, wave: Array) -> Array:
        length, hop = WINDOW_SECONDS * self.sample_rate, HOP_SECONDS * self.sample_rate
        starts = range(0, max(len(wave) - length, 0) + 1, hop)
        windows = [wave[start : start + length].astype(np.float32) for start in starts]
        found = []
        for first in range(0, len(windows), BATCH):
            features = self.extractor(
                windows[first : first + BATCH], sampling_rate=self.sample_rate, return_tensors="pt"
            ).to(device())
            with autocast():
                out = self.network.get_audio_features(**features)
            # transformers 5 gives an object, earlier ones the tensor itself.
            found.append(getattr(out, "pooler_output", out).float().cpu().numpy())
        return np.concatenate(found).astype(np.float64)
