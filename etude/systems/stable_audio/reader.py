"""Pretrained text-to-sound networks as their proof asks them: how well a text predicts a sound.

They have no likelihood at hand; what stands for it is the error of the velocity, whose mean over
times is a bound of it (Kingma et al., arXiv 2107.00630). Every text meets the same noise and times,
so that what differs between texts is not chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.clips.sampling import ClipStreams
from etude.devices import choose_device
from etude.diffusion.predictions import noised
from etude.pretrained.networks import autocast
from etude.systems.base import Wave
from etude.systems.stable_audio.autoencoder import from_pretrained as autoencoder_from
from etude.systems.stable_audio.network import from_pretrained as network_from

BATCH = 4
TIMES = (0.3, 0.5, 0.7, 0.9)  # below, sound itself says what it is; above, nothing does


class SoundReader:
    """`nats(waves, texts)` and sound through the autoencoder: a TextReader.

    Args:
        weights: a folder of results/pretrained/.
    """

    unit = "error of the velocity"

    def __init__(self, weights: Path) -> None:
        device = choose_device()
        self.autoencoder = autoencoder_from(weights).to(device)
        rate, hop = self.autoencoder.rate, self.autoencoder.hop
        silence = [0.0] * self.autoencoder.channels
        about = {"silence": silence, "percentile": 0.0, "rate": rate, "hop": hop}
        self.model = network_from(weights, about).to(device)

    @property
    def rate(self) -> int:
        """Samples per second of what it hears."""
        return self.autoencoder.rate

    @torch.inference_mode()
    def nats(self, waves: Sequence[Wave], texts: Sequence[str]) -> NDArray[np.float64]:
        """Mean squared errors of clips of one length under texts -> [texts, clips]."""
        found = np.zeros((len(texts), len(waves)))
        for start in range(0, len(waves), BATCH):
            part = torch.from_numpy(np.stack(waves[start : start + BATCH]))
            latents = self.autoencoder.encode(part).to(self.model.device)
            for number, time in enumerate(TIMES):
                noise = self._noise(latents, start, number)
                for row, text in enumerate(texts):
                    error = self._error(latents, noise, time, text, part.shape[1] / self.rate)
                    found[row, start : start + len(part)] += error.cpu().numpy() / len(TIMES)
        return found

    def _noise(self, latents: Tensor, start: int, number: int) -> Tensor:
        rows, channels, frames = latents.shape
        seeds = [(start + row) * len(TIMES) + number for row in range(rows)]
        return ClipStreams(seeds, latents.device).normal([frames] * rows, channels).transpose(1, 2)

    def _error(
        self, latents: Tensor, noise: Tensor, time: float, text: str, seconds: float
    ) -> Tensor:
        """Of each item of a batch, float64 [B]."""
        times = self.model.schedule.snap(torch.full((len(latents),), time))
        noisy, wanted = noised(self.model.schedule, "v", latents, noise, times)
        with autocast():
            conditioning = self.model.conditioning_of(
                [text] * len(latents), [(0.0, seconds)] * len(latents)
            )
            output = self.model.velocity(noisy, times.to(latents.device), conditioning)
        return (output.double() - wanted.double()).square().mean((1, 2))

    @torch.inference_mode()
    def by_own_codec(self, waves: Sequence[Wave]) -> list[Wave]:
        """Clips encoded and decoded."""
        length = len(waves[0])
        latents = self.autoencoder.encode(torch.from_numpy(np.stack(waves)))
        sound = self.autoencoder.decode(latents).numpy()[:, :length]
        return [np.pad(wave, (0, length - len(wave))) for wave in sound]
