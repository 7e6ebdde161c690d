"""Acoustic tokens by EnCodec (Défossez et al., arXiv 2210.13438), through transformers' class.

At 24 kHz with 8 quantizers (6 kbps) these are we-sharp's codes: 75 frames a second, 1,024 entries
each.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from etude.config import Encodec
from etude.errors import UserError
from etude.pretrained.networks import device
from etude.tokenizers.fitted import check_wave
from etude.tokenizers.pretrained import PretrainedTokenizer, check_rate, to_cpu

VERSION = 1


class EncodecTokenizer(PretrainedTokenizer):
    """The first quantizers of a pretrained EnCodec; nothing is fitted."""

    version = VERSION
    settings_class = Encodec
    network_kind = "encodec"

    @property
    def codebook_size(self) -> int:
        """Entries of each codebook."""
        return int(self.network_config.codebook_size)

    @property
    def quantizers(self) -> int:  # type: ignore[override]
        """Codebooks in use."""
        return int(self.settings.quantizers)

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return int(torch.tensor(self.network_config.upsampling_ratios).prod())

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    def frames(self, samples: int) -> int:
        """One frame for each hop, the last one filled up."""
        return -(-samples // self.hop)

    @property
    def bandwidth(self) -> float:
        """The smallest of the network's bandwidths (kbps) that has enough quantizers."""
        bits = self.frame_rate * torch.tensor(self.codebook_size).log2().item() / 1000
        for bandwidth in self.network_config.target_bandwidths:
            if int(bandwidth / bits + 1e-6) >= self.quantizers:
                return float(bandwidth)
        raise UserError(
            f"this EnCodec has no {self.quantizers} quantizers",
            where=str(self._weights()),
            why=f"its largest bandwidth, {self.network_config.target_bandwidths[-1]} kbps, has "
            f"{int(self.network_config.target_bandwidths[-1] / bits + 1e-6)}",
            do="set fewer `quantizers`",
        )

    def check_network(self) -> None:
        """Rate, channels and quantizers are those of the settings."""
        config = self.network_config
        check_rate(config.sampling_rate, self.settings, self._weights())
        if config.audio_channels != 1:
            raise UserError(
                f"this EnCodec hears {config.audio_channels} channels; AudioLM is mono",
                where=str(self._weights()),
                do="name the 24 kHz model (facebook/encodec_24khz), which is mono",
            )
        if config.normalize or config.chunk_length_s:
            raise UserError(
                "this EnCodec cuts and scales what it hears; its codes alone do not give it back",
                where=str(self._weights()),
                why="normalize or chunk_length_s is set in its config.json",
                do="name the 24 kHz model (facebook/encodec_24khz)",
            )
        _ = self.bandwidth

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Nothing is learnt from waves."""

    @torch.inference_mode()
    def encode(self, wave: Tensor) -> Tensor:
        """[batch, samples] to [batch, quantizers, frames] of int64."""
        wave = check_wave(wave)
        found = [wave.new_zeros((0, self.quantizers, self.frames(wave.shape[1])))]
        for part in self._parts(wave):
            out = self.network.encode(part[:, None].to(device()), bandwidth=self.bandwidth)
            # One chunk, since the 24 kHz model reads a wave as a whole.
            found.append(out.audio_codes[0][:, : self.quantizers].cpu().float())
        return to_cpu(torch.cat(found))

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """[batch, quantizers or fewer, frames] to [batch, frames * hop].

        Raises:
            ValueError: for codes of another shape.
        """
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.quantizers:
            raise ValueError(f"codes are [batch, quantizers, frames], not {list(codes.shape)}")
        sounds = [
            self.network.decode(item[None, None].to(device()), [None]).audio_values[0, 0].cpu()
            for item in codes
        ]
        return torch.stack(sounds) if sounds else torch.zeros(0, codes.shape[2] * self.hop)
