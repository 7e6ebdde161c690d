"""Sound as latents and back: one protocol, `encode` and `decode`, whoever made the autoencoder.

- magnitude: the PCA of a fitted magnitude_rvq tokenizer before any code, and its phase inversion;
  nothing is trained.
- a family of pretrained networks (etude.pretrained.sound): that family's own autoencoder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from etude.config import MagnitudeRvq
from etude.pretrained.sound import FAMILIES, make_part, read_networks
from etude.systems.stage_module import StageModule
from etude.systems.weights import load_weights
from etude.tokenizers.magnitude_rvq import MagnitudeRvqTokenizer

VERSION = 1  # raised when equal sound gives other latents, or latents another sound


class SoundCodec(Protocol):
    """What makes latents of sound; a `torch.nn.Module` besides."""

    rate: int  # samples per second
    hop: int  # samples of a frame
    channels: int  # numbers of a frame

    def encode(self, wave: Tensor) -> Tensor:
        """[B, samples] -> [B, channels, samples // hop]."""

    def decode(self, latents: Tensor) -> Tensor:
        """[B, channels, frames] -> [B, frames * hop], float32 on the CPU."""


class Magnitude(nn.Module):
    """The first components of a tokenizer's PCA.

    Args:
        shape: `settings` of the tokenizer, `components`, `bins`.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings = MagnitudeRvq.model_validate(shape["settings"])
        self.rate, self.hop = self.settings.sample_rate, self.settings.hop
        self.channels = int(shape["components"])
        self.register_buffer("mean", torch.zeros(shape["bins"]))
        self.register_buffer("basis", torch.zeros(shape["bins"], self.channels))

    def encode(self, wave: Tensor) -> Tensor:
        """As the protocol has it."""
        return self._tokenizer().project(wave.cpu()).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """As the protocol has it."""
        return self._tokenizer().play(latents.float().cpu().transpose(1, 2))

    def _tokenizer(self) -> MagnitudeRvqTokenizer:
        made = MagnitudeRvqTokenizer(self.settings)
        made.tensors = {"mean": self.mean.cpu(), "basis": self.basis.cpu()}
        return made


class PretrainedAutoencoder(nn.Module):
    """A pretrained autoencoder of two channels, of which mono sound has the same in both.

    Args:
        shape: `kind`, a family of etude.pretrained.sound, and `config` of its autoencoder's class:
            Stable Audio Open's AutoencoderOobleck, Stable Audio 3's AutoencoderSAME.
    """

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        self.network: Any = make_part(shape["kind"], "autoencoder", shape["config"])
        config = self.network.config
        self.rate = int(config.sampling_rate)
        self.channels = int(config.get("decoder_input_channels") or config["latent_dim"])
        ratios = config.get("downsampling_ratios") or [
            config["patch_size"],
            *config["encoder_strides"],
        ]
        self.hop = math.prod(ratios)

    def encode(self, wave: Tensor) -> Tensor:
        """As the protocol has it; of a posterior the mean."""
        whole = wave.shape[1] // self.hop * self.hop
        device = next(self.parameters()).device
        sound = wave[:, None, :whole].expand(-1, self.network.config.audio_channels, -1)
        found = self.network.encode(sound.to(device))
        latents: Tensor = found.latents if "latents" in found else found.latent_dist.mode()
        return latents.float().cpu()

    def decode(self, latents: Tensor) -> Tensor:
        """As the protocol has it; the mean of the channels."""
        parameter = next(self.parameters())
        found: Tensor = self.network.decode(latents.to(parameter)).sample
        sound = found.float().mean(1).cpu()
        length = latents.shape[2] * self.hop
        return nn.functional.pad(sound, (0, max(0, length - sound.shape[1])))[:, :length]


KINDS = {"magnitude": Magnitude} | dict.fromkeys(FAMILIES, PretrainedAutoencoder)


class Autoencoder(StageModule):
    """A stage that is never trained.

    Args:
        shape: `kind`, and what its class needs.
    """

    stage, version = "autoencoder", VERSION

    def __init__(self, shape: Mapping[str, Any], settings: Any = None) -> None:
        super().__init__(shape)
        self.network: Any = KINDS[shape["kind"]](shape)

    @property
    def codec(self) -> SoundCodec:
        """What encodes and decodes."""
        found: SoundCodec = self.network
        return found

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.codec.rate

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return self.codec.hop

    @property
    def channels(self) -> int:
        """Numbers of a frame."""
        return self.codec.channels

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.rate / self.hop

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Sound float32 [B, samples] -> latents float32 [B, channels, samples // hop]."""
        return self.codec.encode(wave)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, channels, frames] -> sound float32 [B, frames * hop]."""
        return self.codec.decode(latents)


def of_tokenizer(tokenizer: MagnitudeRvqTokenizer, components: int) -> Autoencoder:
    """The autoencoder that a fitted tokenizer's PCA makes; of its components the first."""
    basis = tokenizer.tensors["basis"][:, :components]
    settings = tokenizer.settings.model_dump(mode="json", exclude={"fit"})
    bins, count = basis.shape
    shape = {"kind": "magnitude", "settings": settings, "components": count, "bins": bins}
    made = Autoencoder(shape)
    made.load_state_dict({"network.mean": tokenizer.tensors["mean"], "network.basis": basis})
    return made.eval()


def from_pretrained(folder: Path) -> Autoencoder:
    """The autoencoder in a folder of results/pretrained/."""
    config, tensors = read_networks(folder)
    made = Autoencoder({"kind": config.family, "config": config.configs["autoencoder"]})
    own = {
        f"network.network.{name.removeprefix('autoencoder.')}": tensor
        for name, tensor in tensors.items()
        if name.startswith("autoencoder.")
    }
    load_weights(made, own, folder)
    return made.eval()
