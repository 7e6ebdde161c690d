"""Listening to the transformer while it learns: clips at several guidance scales, and real ones."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import load_file

from etude.clips.sampling import ClipStreams, clip_seed
from etude.diffusion.guidance import guided
from etude.diffusion.solvers import Denoiser, Sampler
from etude.storage import read_csv
from etude.systems.base import Audition, Parts, TrainingMetric, Wave
from etude.systems.stable_audio.adapter import Adapter
from etude.systems.stable_audio.autoencoder import Autoencoder
from etude.systems.stable_audio.conditioning import Conditioning
from etude.systems.stable_audio.latents import AUTOENCODER, SPLITS
from etude.systems.stable_audio.network import Sound

CLIPS, STEPS = 8, 15
KEPT_CLIPS = 2  # clips of each scale that are kept
SMALL, LARGE = (1, 4), (1, 7)  # what embedded and pretrained networks bear


def figure_of(scale: int) -> str:
    """The name of the distance of clips at a scale of guidance."""
    return f"distance_guidance_{scale}"


FIGURES = tuple(
    TrainingMetric(figure_of(scale), "to held-out pieces", from_audition=True)
    for scale in sorted({*SMALL, *LARGE})
)


class SoundListener:
    """`listener(stage) -> Audition`: the same texts, noise and held-out music, every time.

    Args:
        parts: latents, beside which their autoencoder lies.
    """

    def __init__(self, parts: Parts, latents: str) -> None:
        self.folder = parts.latents[latents]
        self.autoencoder = Autoencoder.load(self.folder / AUTOENCODER)
        split = next(s for s in ("valid", *SPLITS) if list(read_csv(self.folder / f"{s}.csv")))
        self.rows = list(read_csv(self.folder / f"{split}.csv"))
        self.latents = load_file(self.folder / f"{split}.safetensors")["latents"]
        self.real: list[Wave] = []

    @torch.inference_mode()
    def __call__(self, stage: Sound | Adapter) -> Audition:
        """Clips as long as a window of training."""
        model = (stage.base if isinstance(stage, Adapter) else stage).eval()
        frames = int(stage.shape["frames"])
        self.real = self.real or self._held_out(frames)
        audition = Audition({}, [], self.autoencoder.rate)
        for scale in LARGE if model.pretrained else SMALL:
            made = self._made(model, frames, scale)
            audition.waves += made[:KEPT_CLIPS]
            audition.pairs[figure_of(scale)] = made, self.real
        return audition

    def _made(self, model: Sound, frames: int, scale: int) -> list[Wave]:
        rows = [self.rows[number % len(self.rows)] for number in range(CLIPS)]
        spans = [(0.0, float(row["seconds"])) for row in rows]
        conditioning = model.conditioning_of([row["caption"] for row in rows], spans)
        free = model.conditioning_of([""] * CLIPS, spans)

        def network(about: Conditioning) -> Denoiser:
            return lambda x, time, _: model.velocity(x, time, about)

        streams = ClipStreams([clip_seed(0, clip) for clip in range(CLIPS)], model.device)
        noise = streams.normal([frames] * CLIPS, model.shape["channels"]).transpose(1, 2)
        sampler = Sampler(model.schedule, steps=STEPS)
        latents = sampler.sample(guided(network(conditioning), network(free), scale), noise)
        return self._played((latents * model.deviation + model.mean).cpu())

    def _held_out(self, frames: int) -> list[Wave]:
        """Windows of held-out pieces through the autoencoder, as clips come out of it."""
        found = []
        for row in self.rows:
            first, count = int(row["first"]), int(row["frames"])
            begins = range(first, first + max(count, frames) - frames + 1, frames)
            found += [self.latents[b : min(b + frames, first + count)] for b in begins]
        found = [part for part in found if len(part) == frames] or found
        return [wave for part in found[: 4 * CLIPS] for wave in self._played(part.T[None])]

    def _played(self, latents: torch.Tensor) -> list[Wave]:
        """One by one, on the CPU: a convolutional decoder takes gigabytes for a few seconds."""
        waves = [self.autoencoder.decode(item[None])[0].numpy() for item in latents]
        return [wave.astype(np.float32) for wave in waves]
