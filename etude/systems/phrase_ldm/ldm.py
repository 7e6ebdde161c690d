"""The stage that makes pieces: diffusion over the latents of their phrases.

Its folder holds all that playing needs besides the decoder: the scale of the latents, and the forms
of the training pieces. Latents outside have the autoencoder's scale, inside deviation 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.clips.sampling import ClipStreams
from etude.config.diffusion import BarTransformer, Denoising
from etude.diffusion.guidance import guided
from etude.diffusion.predictions import noised, squared_error, stratified, to_x0
from etude.diffusion.schedules import Schedule
from etude.diffusion.solvers import Denoiser, Sampler, clip_of
from etude.systems.base import Batch
from etude.systems.phrase_ldm import sections
from etude.systems.phrase_ldm.dit import BarDit, twin_mean, twins, without
from etude.systems.phrase_ldm.pieces import standardised
from etude.systems.stage_module import StageModule

VERSION = 1  # raised when results change

VALIDATION_TIMES = 4  # at which each validation piece is denoised


@dataclass(frozen=True)
class PieceRequest:
    """One piece that is to be made.

    Attributes:
        seed: of its noise.
        bars: how long it is.
        key, mode, meter: None: whatever comes.
        form: its sections, as i8A8A8B4; empty: whatever comes.
        source: latents [bars, slots, z] to begin from, or whose `known` bars (bool [bars]) stay.
    """

    seed: int
    bars: int
    key: int | None = None
    mode: int | None = None
    meter: int | None = None
    form: str = ""
    source: Tensor | None = None
    known: NDArray[np.bool_] | None = None


class Ldm(StageModule):
    """Noise to the latents of a piece.

    `shape` has slots, latent, keys, modes, meters, the statistics of the latents (mean, deviation,
    percentile), and the forms of the training pieces.
    """

    stage, version, Settings = "ldm", VERSION, BarTransformer
    settings: BarTransformer
    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: Mapping[str, Any], settings: BarTransformer) -> None:
        super().__init__(shape, settings)
        self.network = BarDit(shape, settings)
        process = settings.diffusion
        self.schedule = Schedule(process.schedule, process.steps)
        for name in ("mean", "deviation"):  # in config.json, not among the weights
            self.register_buffer(name, torch.tensor(shape[name]).float(), persistent=False)

    # -------------------------------------------------------------------------------- training

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error of what is predicted, at a time of each piece's own.

        In training, noise and times are random and conditions are dropped; else all is decided by
        the batch's `places`, each piece at VALIDATION_TIMES times.
        """
        process, mask = self.settings.diffusion, batch["mask"]
        about = {name: batch[name] for name in ("mask", "start", "length", *_conditions(batch))}
        if self.training:
            about = self._dropped(about)
            errors = [self._error(batch, about, stratified(batch["places"]), None)]
        else:
            errors = [
                self._error(batch, about, (batch["places"] + part / VALIDATION_TIMES) % 1, part)
                for part in range(VALIDATION_TIMES)
            ]
        count = int(mask.sum()) if process.masked else mask.numel()
        return torch.stack(errors).mean(), {"count": count}

    def _error(
        self, batch: Batch, about: dict[str, Tensor], places: Tensor, part: int | None
    ) -> Tensor:
        process = self.settings.diffusion
        draw = self._noise(batch, part)
        posterior = draw() if process.sample_posterior else None
        x0 = standardised(batch, self.mean, self.deviation, posterior)
        x0 = x0 * batch["mask"][..., None, None]  # padding is the mean latent
        time = self.schedule.snap(places)
        noisy, wanted = noised(self.schedule, process.prediction, x0, draw(), time)
        estimate = None
        # In half of the training the network is given an estimate of its own (Chen et al.).
        if self.settings.self_condition and (part is not None or float(torch.rand(())) < 0.5):
            with torch.no_grad():
                output = self.network(noisy, time, about).float()
            estimate = self._data(output, noisy, time)
        output = self.network(noisy, time, about, estimate)
        return squared_error(output, wanted, batch["mask"] if process.masked else None)

    def _data(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        alpha, sigma = (level[:, None, None, None] for level in self.schedule.levels(time))
        prediction = self.settings.diffusion.prediction
        return to_x0(prediction, output, x, alpha, sigma, self.schedule.straight)

    @staticmethod
    def _noise(batch: Batch, part: int | None) -> Callable[[], Tensor]:
        """Noise like the latents: in validation from the places, so that it is always the same."""
        latents = batch["mean"]
        if part is None:
            return lambda: torch.randn_like(latents, dtype=torch.float32)
        seeds = [int(place * 2**40) + part for place in batch["places"].tolist()]
        streams = ClipStreams(seeds, latents.device)
        lengths = batch["mask"].sum(1).tolist()
        return lambda: streams.normal(lengths, *latents.shape[2:])

    def _dropped(self, about: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each condition is kept from some pieces, and all of them from some."""
        share, count = self.settings.drop_conditions, len(about["mask"])
        if not share:
            return about
        every = torch.rand(count, device=self.device) < share
        names: list[str] = [*self.settings.conditions]
        each = {n: every | (torch.rand(count, device=self.device) < share) for n in names}
        return without(about, each)

    # ------------------------------------------------------------------------------- sampling

    def sampler(self, how: Denoising) -> Sampler:
        """The sampler that the settings describe, with the clip of these latents."""
        clip = how.clip
        if clip == "percentile":
            clip = clip_of(self.shape["percentile"])
        return Sampler(
            self.schedule,
            self.settings.diffusion.prediction,
            how.solver,
            how.steps,
            how.spacing,
            how.eta,
            None if clip == "none" else float(clip),
            how.temperature,
        )

    def about(self, wanted: Sequence[PieceRequest]) -> dict[str, Tensor]:
        """What the network is told of pieces that are to be made."""
        lengths = [piece.bars for piece in wanted]
        longest = max(lengths)
        steps = torch.arange(longest).expand(len(wanted), -1)
        mask = steps < torch.tensor(lengths)[:, None]
        about = {"mask": mask, "start": steps, "length": torch.tensor(lengths)}
        for name in ("key", "mode", "meter"):
            values = [getattr(piece, name) for piece in wanted]
            about[name] = torch.tensor([-1 if value is None else value for value in values])
        rows = torch.full((len(wanted), len(sections.OF_BARS), longest), sections.UNKNOWN)
        for row, piece in zip(rows, wanted, strict=True):
            if piece.form:
                form = sections.parse_sections(piece.form, "the form that is asked for", piece.bars)
                row[:, : piece.bars] = torch.from_numpy(sections.section_features(form))
        about |= {name: rows[:, number] for number, name in enumerate(sections.OF_BARS)}
        return {name: tensor.to(self.device) for name, tensor in about.items()}

    @torch.no_grad()
    def make(
        self,
        wanted: Sequence[PieceRequest],
        how: Denoising,
        *,
        strength: float = 1.0,
        repeats: bool = False,
        half: bool = False,
        report: Callable[[float], None] = lambda share: None,
    ) -> list[Tensor]:
        """Latents of pieces, float32 [bars, slots, z] each, on the autoencoder's scale.

        A piece does not depend on which others are made with it, but for rounding.

        Args:
            strength: how far the `source` of pieces is noised; 1: nothing of it is left but what
                is `known`.
            repeats: bars at the same place of sections of one letter are the same; not where a
                source is.
            half: matrix products in bfloat16.
            report: told the share of the steps that are done.
        """
        about = self.about(wanted)
        lengths = [piece.bars for piece in wanted]
        inner = (self.shape["slots"], self.shape["latent"])
        streams = ClipStreams([piece.seed for piece in wanted], self.device)
        denoiser = self._denoiser(about, how, half)

        def normal() -> Tensor:
            return streams.normal(lengths, *inner)

        source, known = self._source(wanted, noise := normal())
        fresh = normal
        if repeats and source is None:
            noise, fresh, denoiser = as_one(about, noise, fresh, denoiser)
        latents = self.sampler(how).sample(
            denoiser,
            noise,
            source=source,
            strength=strength,
            known=known,
            fresh=fresh,
            report=report,
        )
        latents = latents * self.deviation + self.mean
        return [row[:length].cpu() for row, length in zip(latents, lengths, strict=True)]

    def _denoiser(self, about: dict[str, Tensor], how: Denoising, half: bool) -> Denoiser:
        self.eval()
        every = torch.ones(len(about["mask"]), dtype=torch.bool, device=self.device)
        # The length is the shape of the noise: guidance is towards the other conditions.
        followed = [name for name in self.settings.conditions if name != "length"]
        free = without(about, dict.fromkeys(followed, every))

        def network(conditions: dict[str, Tensor]) -> Denoiser:
            def predict(x: Tensor, time: Tensor, estimate: Tensor | None) -> Tensor:
                with self._precision(half):
                    return self.network(x, time, conditions, estimate)

            return predict

        return guided(network(about), network(free), how.guidance, how.rescale, about["mask"])

    def _precision(self, half: bool) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext()

    def _source(
        self, wanted: Sequence[PieceRequest], noise: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Where pieces begin and what of them stays, standardised; None where none has any."""
        if all(piece.source is None for piece in wanted):
            return None, None
        source = torch.zeros_like(noise)
        known = torch.zeros_like(noise, dtype=torch.bool)
        for number, piece in enumerate(wanted):
            if piece.source is not None:
                latents = (piece.source.to(self.device).float() - self.mean) / self.deviation
                source[number, : piece.bars] = latents
            if piece.known is not None:
                known[number, : piece.bars] = torch.from_numpy(piece.known)[:, None, None]
        return source, known


def _conditions(batch: Mapping[str, Tensor]) -> tuple[str, ...]:
    return tuple(name for name in ("key", "mode", "meter", *sections.OF_BARS) if name in batch)


def as_one(
    about: Mapping[str, Tensor], noise: Tensor, fresh: Callable[[], Tensor], denoiser: Denoiser
) -> tuple[Tensor, Callable[[], Tensor], Denoiser]:
    """Noise, fresh noise and a network with which twins (see `twins`) stay equal.

    They begin with the same noise, and what is predicted for them is the mean. Where sections come
    from exact repeats, as they do without labels, this is what the letters mean.
    """
    alike = twins(about)
    first = alike.int().argmax(-1)[:, :, None, None].expand_as(noise)

    def predict(x: Tensor, time: Tensor, estimate: Tensor | None) -> Tensor:
        return twin_mean(denoiser(x, time, estimate), alike)

    return noise.gather(1, first), lambda: fresh().gather(1, first), predict


def between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Latents on the line from one piece to another, as long as the shorter one.

    Half-way a line blends what does not sound together: noise it to a middle strength and denoise
    it (`make` with this as the source).
    """
    bars = min(len(first), len(second))
    return torch.lerp(first[:bars], second[:bars], share)
