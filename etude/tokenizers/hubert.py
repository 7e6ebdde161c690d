"""Semantic tokens from a HuBERT (Hsu et al., arXiv 2106.07447): nearest centres of one layer.

With we-sharp's weights (base LS960, layer 9, 500 centres) these are we-sharp's tokens: 320
samples a frame at 16 kHz, 2 seconds are 99 frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from etude.config import Hubert
from etude.errors import UserError
from etude.pretrained.networks import autocast, device
from etude.pretrained.origin import read_origin
from etude.tokenizers.clustering import kmeans, nearest, sample_frames
from etude.tokenizers.fitted import check_wave, fill_codebook
from etude.tokenizers.pretrained import PretrainedTokenizer, to_cpu

VERSION = 1
TRAINING_FRAMES = 200_000  # 400 for each of 500 centres


class HubertTokenizer(PretrainedTokenizer):
    """k-means over a hidden state; the centres are fitted on the corpus, or given."""

    version = VERSION
    settings_class = Hubert
    network_kind = "hubert"

    @property
    def codebook_size(self) -> int:
        """Size of the vocabulary."""
        return int(self.settings.clusters)

    @property
    def hop(self) -> int:
        """Samples between frames: the product of the convolutions' strides."""
        return int(torch.tensor(self.network_config.conv_stride).prod())

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    def frames(self, samples: int) -> int:
        """What the convolutions leave of this many samples."""
        config = self.network_config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return max(0, samples)

    def check_network(self) -> None:
        """The layer is there."""
        layers = self.network_config.num_hidden_layers
        if self.settings.layer > layers:
            raise UserError(
                f"the network has {layers} layers, layer {self.settings.layer} is asked for",
                where=str(self._weights()),
                do=f"set `layer` to {layers} or less",
            )

    def give_centres(self, folder: Path) -> None:
        """Take the centres of a k-means from results/pretrained/ instead of fitting.

        Raises:
            UserError: their number or their dimension does not fit.
        """
        centres = load_file(folder / "centres.safetensors")["centres"]
        expected = (self.codebook_size, self.network_config.hidden_size)
        if tuple(centres.shape) != expected:
            raise UserError(
                "the centres do not fit",
                where=str(folder),
                why=f"they are {list(centres.shape)}, needed are {list(expected)} (clusters, width "
                "of the network)",
                do="set `clusters` to theirs, or name centres that were made with this network",
            )
        self.tensors = {"codebook": centres}
        self.centres = read_origin(folder)

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Cluster a sample of the frames of waves [batch, samples].

        Raises:
            ValueError: if there are no waves or samples that are not finite.
        """
        seed = self.settings.fit.seed
        frames = sample_frames(batches, self.features, TRAINING_FRAMES, seed)
        entries = kmeans(frames, self.codebook_size, self.settings.iterations, seed)
        self.tensors = {"codebook": fill_codebook(entries, self.codebook_size)}

    def encode(self, wave: Tensor) -> Tensor:
        """[batch, samples] to [batch, frames] of int64."""
        codebook = self._tensor("codebook")
        labels = [nearest(item, codebook)[0] for item in self.features(wave)]
        empty = torch.zeros((0, self.frames(wave.shape[1])), dtype=torch.int64)
        return to_cpu(torch.stack(labels)) if labels else empty

    @torch.inference_mode()
    def features(self, wave: Tensor) -> Tensor:
        """The hidden state: [batch, samples] to float32 [batch, frames, width], on the CPU."""
        wave = check_wave(wave)
        if self.settings.normalize:
            deviation = wave.var(1, keepdim=True, unbiased=False).add(1e-7).sqrt()
            wave = (wave - wave.mean(1, keepdim=True)) / deviation
        found = []
        for part in self._parts(wave):
            with autocast():
                out = self.network(part.to(device()), output_hidden_states=True)
            found.append(out.hidden_states[self.settings.layer].float().cpu())
        return torch.cat(found)
