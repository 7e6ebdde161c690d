"""The player: texts, seconds and recordings to latents to sound, one batch after the other."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.audio.files import AudioError
from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Stopped, Tell, batches, part_of, stopping
from etude.clips.sampling import ClipStreams, clip_seed
from etude.config.systems.stable_audio import SoundGenerate, StableAudio
from etude.devices import choose_device
from etude.diffusion.guidance import guided
from etude.diffusion.solvers import Denoiser, Sampler, clip_of
from etude.errors import UserError
from etude.pretrained.networks import autocast
from etude.systems.base import ShouldStop, Wave
from etude.systems.conditions import Conditions, refuse
from etude.systems.stable_audio.autoencoder import Autoencoder
from etude.systems.stable_audio.conditioning import Conditioning
from etude.systems.stable_audio.latents import encode_file
from etude.systems.stable_audio.network import Sound, set_strength
from etude.systems.stable_audio.texts import is_cut, new_words

VERSION = 2  # raised when the same latents or settings give other clips

log = logging.getLogger(__name__)


@dataclass
class SoundRequest:
    """What clips are asked to be: seconds, texts in turn, recordings in turn.

    Attributes: sources (latents [frames, channels], on the autoencoder's scale), names (theirs).
    """

    seconds: float
    texts: Sequence[str]
    sources: list[Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class SoundPlayer:
    """The network and its autoencoder, ready to make clips.

    Args:
        model: with an adapter in it, or without.
        texts: asked where neither settings nor conditions say what clips are to sound like.

    Raises:
        UserError: the two do not fit together.
    """

    Settings = SoundGenerate

    def __init__(self, model: Sound, autoencoder: Autoencoder, texts: Sequence[str] = ()) -> None:
        found = (autoencoder.channels, autoencoder.frame_rate)
        if found != (model.shape["channels"], model.shape["frame_rate"]):
            raise UserError(
                "the autoencoder does not fit the network",
                why=f"its latents have {found[0]} numbers at {found[1]:g} Hz, and those that the "
                f"network learned {model.shape['channels']} at {model.shape['frame_rate']:g} Hz",
                do="play it with the autoencoder that it was trained with",
            )
        device = choose_device()
        self.model, self.autoencoder = model.to(device).eval(), autoencoder.to(device).eval()
        self.texts = list(texts)
        self.adapted = hasattr(model.transformer, "peft_config")

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return self.autoencoder.rate

    # --------------------------------------------------------------------------- what is asked

    def prepare(self, settings: SoundGenerate, conditions: Conditions) -> SoundRequest:
        """Read texts and recordings; words that are not known are told.

        Raises:
            UserError: a recording cannot be used, or what is asked does not fit together.
        """
        refuse(conditions, StableAudio.conditions, "this experiment")
        texts = [conditions.text] if conditions.text else list(settings.texts) or self.texts
        asked = SoundRequest(conditions.seconds or settings.seconds, texts or [""])
        self._tell_words([*asked.texts, settings.negative])
        for path in conditions.files:
            asked.sources.append(self._read(path))
            asked.names.append(path.name)
        last = max((end for _, end in settings.kept), default=0.0)
        if asked.sources:
            least = min(len(source) for source in asked.sources) / self.autoencoder.frame_rate
            if last > least + 0.1:
                raise UserError(
                    f"{last:g} s cannot be kept",
                    where="generate.keep",
                    why=f"the shortest recording has {least:.1f} s",
                    do="correct `keep`",
                )
        return asked

    def _read(self, path: Path) -> Tensor:
        try:
            latents, _ = encode_file(self.autoencoder, path)
        except AudioError as error:
            why = error.reason
        else:
            if len(latents):
                return latents
            why = "too_short: not one frame of latents"
        raise UserError(
            "this recording cannot be used",
            where=str(path),
            why=why,
            do=f"give a file of {self.rate} Hz or more that plays elsewhere",
        )

    def _tell_words(self, texts: Sequence[str]) -> None:
        tokenizer, length = self.model.tokenizer, self.model.text_length
        if unknown := sorted({w for text in texts for w in new_words(text, tokenizer)}):
            log.warning("words that the base never learned: %s", ", ".join(unknown))
        for text in texts:
            if text and is_cut(text, tokenizer, length):
                log.warning("only the first %d tokens of a text are read: %s", length, text[:60])

    # ---------------------------------------------------------------------------------- clips

    def clips(
        self,
        settings: SoundGenerate,
        seed: int,
        draw: int,
        conditions: SoundRequest,
        progress: Tell,
        should_stop: ShouldStop,
    ) -> Iterator[Clip]:
        """Sample and decode clips: clip i has text i and recording i, each modulo their number."""
        tell = stopping(progress, should_stop)
        for part in batches(settings.clips, settings.batch_size):
            if should_stop():
                raise Stopped
            share = part_of(tell, part, settings.clips)
            texts = [conditions.texts[number % len(conditions.texts)] for number in part]
            latents, spans = self.sample(settings, conditions, draw, part, share)
            waves = self.decode(latents, conditions.seconds)
            for number, text, span, wave in zip(part, texts, spans, waves, strict=True):
                row = {"seed": seed, "draw": draw}
                condition = {"prompt": text, "start": f"{span[0]:g}", "total": f"{span[1]:g}"}
                if conditions.names:
                    condition["recording"] = conditions.names[number % len(conditions.names)]
                yield Clip(wave, row, condition=condition, rate=self.rate, number=number)

    @torch.no_grad()
    def sample(
        self,
        settings: SoundGenerate,
        asked: SoundRequest,
        draw: int,
        numbers: Sequence[int],
        tell: Tell = lambda event: None,
    ) -> tuple[Tensor, list[tuple[float, float]]]:
        """Latents [B, channels, frames] of the clips of these numbers, and their seconds."""
        seeds = [clip_seed(draw, number) for number in numbers]
        frames = max(1, math.ceil(asked.seconds * self.autoencoder.frame_rate - 1e-6))
        spans = [self._span(settings, asked.seconds, own) for own in seeds]
        streams = ClipStreams(seeds, self.model.device)
        size = [frames] * len(numbers)

        def noise() -> Tensor:
            return streams.normal(size, self.model.shape["channels"]).transpose(1, 2)

        if self.adapted:
            set_strength(self.model, settings.adapter_strength, settings.strengths)
        texts = [asked.texts[number % len(asked.texts)] for number in numbers]
        source, known = self._source(settings, asked, numbers, frames)
        latents = self._sampler(settings).sample(
            self._denoiser(settings, texts, spans),
            noise(),
            source=source,
            strength=1.0 if known is not None else settings.strength,
            known=known,
            fresh=noise,
            report=_report(tell, asked.seconds),
        )
        return (latents * self.model.deviation + self.model.mean).cpu(), spans

    def _sampler(self, settings: SoundGenerate) -> Sampler:
        how = settings.denoising
        clip = how.clip
        if clip == "percentile":
            clip = clip_of(self.model.shape["percentile"])
        limit = None if clip == "none" else float(clip)
        steps = (how.solver, how.steps, how.spacing, how.eta)
        return Sampler(self.model.schedule, "v", *steps, limit, how.temperature)

    def _denoiser(
        self, settings: SoundGenerate, texts: Sequence[str], spans: list[tuple[float, float]]
    ) -> Denoiser:
        conditioning = self.model.conditioning_of(texts, spans)
        free = self.model.conditioning_of([settings.negative] * len(texts), spans)

        def network(about: Conditioning) -> Denoiser:
            def predict(x: Tensor, time: Tensor, _: Tensor | None) -> Tensor:
                with autocast():
                    return self.model.velocity(x, time, about)

            return predict

        how = settings.denoising
        return guided(network(conditioning), network(free), how.guidance, how.rescale)

    def _span(self, settings: SoundGenerate, seconds: float, seed: int) -> tuple[float, float]:
        """Start and total seconds that a clip is told: as asked, or one of the training windows'.

        Of these only such that go on for as long as the clip does.
        """
        learned = [] if settings.total else self.model.shape["spans"]
        room = [span for span in learned if span[1] - span[0] > seconds - 0.1]
        start, total = 0.0, max(seconds, settings.total or 0.0)
        if room:
            generator = torch.Generator().manual_seed(seed)
            start, total = room[int(torch.randint(len(room), (), generator=generator))]
        return (start if settings.start is None else settings.start), total

    def _source(
        self, settings: SoundGenerate, asked: SoundRequest, numbers: Sequence[int], frames: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """Recordings as standardised latents, and which frames stay; None where there are none."""
        if not asked.sources:
            return None, None
        silence = torch.tensor(self.model.shape["silence"]).float()
        rows, masks = [], []
        for number in numbers:
            latents = asked.sources[number % len(asked.sources)][:frames]
            rest = silence.expand(frames - len(latents), -1)
            rows.append(torch.cat([latents, rest]).T)
            masks.append(self._kept(settings, frames))
        source = self.model.standardised(torch.stack(rows).to(self.model.device))
        if not settings.kept:
            return source, None
        mask = torch.stack(masks).to(self.model.device)
        return source, mask[:, None].expand_as(source)

    def _kept(self, settings: SoundGenerate, frames: int) -> Tensor:
        mask = torch.zeros(frames, dtype=torch.bool)
        for first, last in settings.kept:
            rate = self.autoencoder.frame_rate
            mask[round(first * rate) : round(last * rate)] = True
        return mask

    def decode(self, latents: Tensor, seconds: float) -> list[Wave]:
        """Latents [B, channels, frames] as sound of exactly this length, float32 [samples]."""
        length = round(seconds * self.rate)
        sound = self.autoencoder.decode(latents).numpy()[:, :length]
        return [np.pad(wave, (0, length - len(wave))) for wave in sound]


def _report(tell: Tell, seconds: float) -> Callable[[float], None]:
    began = time.perf_counter()

    def report(share: float) -> None:
        eta = (time.perf_counter() - began) * (1 / share - 1)
        tell(GenerationProgress("latents", 100 * share, seconds * share, eta))

    return report


def through(autoencoder: Autoencoder, wave: Wave) -> Any:
    """A wave encoded and decoded, float32 [samples]; what is no whole frame is lost."""
    latents = autoencoder.encode(torch.from_numpy(wave)[None])
    return autoencoder.decode(latents)[0].numpy()
