"""CLAP as an embedding (Wu et al., arXiv 2211.06687), by transformers' class.

Conventions
    Clips are read at 48 kHz, in windows of 10 s that move on by 1 s, as fadtk does; a shorter clip
    is repeated to 10 s, as the network's own feature extractor does. A window gives the projected
    audio embedding, not normalised. Distances are of the embeddings as they are: nothing is
    standardised or reduced, as in fadtk. The numbers are fadtk's only where the weights are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import Tokenizer

from etude.errors import UserError
from etude.pretrained.networks import autocast, device, load_network
from etude.pretrained.origin import read_origin

VERSION = 1
WINDOW_SECONDS, HOP_SECONDS = 10, 1
TOKENIZER = "tokenizer.json"
LONGEST = 77  # tokens of a text, as the original
BROKEN = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)
BATCH = 8  # windows that the network hears at once

Array = NDArray[np.float64]


class Clap:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, windows, dim]`.

    Args:
        weights: a folder of results/pretrained/ of kind clap, or one in the hub's form.

    Raises:
        UserError: it cannot be read.
    """

    components = None  # distances are of the embeddings as they are
    deviation_floor = 0.0

    def __init__(self, weights: Path) -> None:
        from transformers import ClapFeatureExtractor

        try:
            self.weights, self.network = weights, load_network(weights, "clap")
            self.extractor = ClapFeatureExtractor.from_pretrained(
                str(weights), local_files_only=True
            )
        except BROKEN as error:
            raise UserError(
                "this folder holds no CLAP that can be read",
                where=str(weights),
                why=str(error).strip().split("\n")[0] or type(error).__name__,
                do="fetch it again, whole: config.json, model.safetensors and "
                "preprocessor_config.json",
            ) from None
        self.origin = read_origin(weights)
        self.sample_rate = int(self.extractor.sampling_rate)
        self.dim = int(self.network.config.projection_dim)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, windows, dim]; at least one window."""
        return np.stack([self._embed(item) for item in np.atleast_2d(wave)])

    def similarity(
        self, waves: Sequence[NDArray[np.float32]], rate: int, texts: Sequence[str]
    ) -> Array:
        """The cosines of clips and texts [clips, texts], of each clip the mean over its windows.

        Raises:
            UserError: the weights came without their text tokenizer.
        """
        wanted = np.stack([self.read(text) for text in texts], axis=1)
        found = []
        for wave in waves:
            resampled = soxr.resample(wave, rate, self.sample_rate, quality="HQ")
            windows = self._embed(resampled.astype(np.float64))
            sizes = np.outer(np.linalg.norm(windows, axis=1), np.linalg.norm(wanted, axis=0))
            found.append((windows @ wanted / np.maximum(sizes, 1e-12)).mean(0))
        return np.array(found)

    @torch.inference_mode()
    def read(self, text: str) -> Array:
        """The projected embedding of a text [dim]."""
        if not (self.weights / TOKENIZER).is_file():
            raise UserError(
                "this CLAP cannot read",
                where=str(self.weights / TOKENIZER),
                why="the file of its text tokenizer did not come with the weights",
                do=f"fetch the weights again with their {TOKENIZER}",
            )
        ids = Tokenizer.from_file(str(self.weights / TOKENIZER)).encode(text).ids[:LONGEST]
        given = torch.tensor([ids], device=device())
        out = self.network.get_text_features(input_ids=given, attention_mask=torch.ones_like(given))
        vector: Array = getattr(out, "pooler_output", out)[0].float().cpu().numpy()
        return vector.astype(np.float64)

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
