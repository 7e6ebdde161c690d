"""MusicGen's player: texts to codes to waves, one batch after the other."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Stopped, Tell, batches, part_of, stopping
from etude.clips.sampling import ClipStreams, clip_seed
from etude.config.systems.musicgen import TextGenerate
from etude.devices import choose_device
from etude.errors import UserError
from etude.systems.base import ShouldStop, Wave
from etude.systems.conditions import Conditions, refuse
from etude.systems.musicgen.melody import read_melody
from etude.systems.musicgen.network import Lm
from etude.systems.musicgen.sampling import sample, steps_of
from etude.systems.musicgen.texts import unknown_words
from etude.tokenizers.registry import load_tokenizer

VERSION = 2  # raised when the same codes, or the same settings, give other clips

LONGEST = 30.0  # seconds of a window of pretrained networks, as they were trained

log = logging.getLogger(__name__)


@dataclass
class TextRequest:
    """What clips are asked to be: seconds, and texts in turn."""

    seconds: float
    texts: Sequence[str]
    melody: Tensor | None = None  # [T, chroma]


class MusicGenPlayer:
    """The network and its codec, ready to make clips.

    Args:
        concepts: learned words, [tokens, text_dim] each, that texts may name as <concept>.
        texts: asked where neither settings nor conditions say what clips are to sound like.
        takes: the `conditions` of the settings class of the system.
    """

    Settings = TextGenerate

    def __init__(
        self,
        model: Lm,
        acoustic: Any,
        *,
        takes: frozenset[str],
        concepts: Mapping[str, Tensor] | None = None,
        texts: Sequence[str] = (),
    ) -> None:
        device = choose_device()
        self.model, self.acoustic, self.takes = model.to(device).eval(), acoustic, takes
        self.concepts = {name: rows.to(device) for name, rows in (concepts or {}).items()}
        self.texts = list(texts)
        self._check_codec()

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return int(self.acoustic.sample_rate)

    def prepare(self, settings: TextGenerate, conditions: Conditions) -> TextRequest:
        """See that the texts can be read; the words that are not known are told.

        Raises:
            UserError: a text names a concept that was not learned, or no text at all is known.
        """
        follows = {"recording"} if self.model.prefix is not None else set()
        refuse(conditions, self.takes | follows, "this experiment")
        asked = [conditions.text] if conditions.text else list(settings.texts) or self.texts
        if conditions.concept:
            asked = [f"<{conditions.concept}> {conditions.text}".strip()]
        texts = asked or [""]
        with torch.no_grad():
            self.model.rows(texts, self.concepts)
        unknown = {w for t in texts for w in unknown_words(t, self.model.tokenizer)}
        if unknown:
            log.warning("words that were never learned: %s", ", ".join(sorted(unknown)))
        melody = read_melody(conditions.files[0], self.rate) if conditions.files else None
        return TextRequest(conditions.seconds or settings.seconds, texts, melody)

    def clips(
        self,
        settings: TextGenerate,
        seed: int,
        draw: int,
        conditions: TextRequest,
        progress: Tell,
        should_stop: ShouldStop,
    ) -> Iterator[Clip]:
        """Sample and decode clips: clip i has text i modulo their number."""
        tell = stopping(progress, should_stop)
        for part in batches(settings.clips, settings.batch_size):
            if should_stop():
                raise Stopped
            texts = [conditions.texts[number % len(conditions.texts)] for number in part]
            share = part_of(tell, part, settings.clips)
            asked = (conditions.seconds, draw, part, share, conditions.melody)
            codes = self.sample(settings, texts, *asked)
            waves = self.decode(codes, conditions.seconds)
            for number, text, wave in zip(part, texts, waves, strict=True):
                row = {"seed": seed, "draw": draw, "tokens": codes[0].numel(), "ended": "false"}
                condition = {"prompt": text}
                yield Clip(wave, row, condition=condition, rate=self.rate, number=number)

    def sample(
        self,
        settings: TextGenerate,
        texts: Sequence[str],
        seconds: float,
        draw: int,
        numbers: Sequence[int],
        tell: Tell,
        melody: Tensor | None = None,
    ) -> Tensor:
        """Codes [B, K, frames] of clips with these texts and numbers."""
        rate = float(self.acoustic.frame_rate)
        frames = max(1, math.ceil(seconds * rate - 1e-6))
        window = self.window(settings)
        hop = None if settings.hop is None else max(1, round(settings.hop * rate))
        streams = ClipStreams([clip_seed(draw, n) for n in numbers], self.model.device)
        steps = steps_of(frames, window, hop, self.model.quantizers)
        meter = _PositionMeter(steps, seconds, tell)
        with torch.inference_mode():
            rows, mask = self.model.rows(texts, self.concepts)
        return sample(
            *(self.model, rows, mask, frames, streams, settings.sampling),
            guidance=settings.guidance,
            window=window,
            hop=hop,
            melody=None if melody is None else melody.expand(len(rows), -1, -1),
            on_step=meter.step,
        )

    def window(self, settings: TextGenerate) -> int:
        """Frames that are sampled at once."""
        if settings.window is not None:
            return max(1, round(settings.window * self.acoustic.frame_rate))
        learned = int(self.model.shape["frames"])
        whole = int(LONGEST * self.acoustic.frame_rate)
        return whole if "decoder" in self.model.shape else learned

    def decode(self, codes: Tensor, seconds: float) -> list[Wave]:
        """Codes [B, K, frames] as sound, float32 [samples] each, of exactly this length."""
        length = round(seconds * self.rate)
        waves = self.acoustic.decode(codes.cpu()).cpu().numpy()[:, :length]
        return [np.pad(wave, (0, length - len(wave))) for wave in waves]

    def _check_codec(self) -> None:
        shape = self.model.shape
        ours = {
            "codebook_size": self.acoustic.codebook_size,
            "quantizers": self.acoustic.quantizers,
            "frame_rate": float(self.acoustic.frame_rate),
        }
        if wrong := [f"{k} {shape[k]} (codec: {v})" for k, v in ours.items() if shape[k] != v]:
            raise UserError(
                "the network learned the tokens of another codec",
                why=", ".join(wrong),
                do="play it with the codec that it was trained with (`fit.corpus` or `fit.folder` "
                "of the tokenizer)",
            )


class _PositionMeter:
    """Counts positions and tells how far a batch is."""

    def __init__(self, total: int, seconds: float, tell: Tell) -> None:
        self.total, self.seconds, self.tell = max(total, 1), seconds, tell
        self.done, self.began = 0, time.perf_counter()

    def step(self) -> None:
        self.done += 1
        share = min(self.done / self.total, 1.0)
        eta = (time.perf_counter() - self.began) * (1 - share) / share
        self.tell(GenerationProgress("codes", 100 * share, self.seconds * share, eta))


def open_codec(parts_tokenizers: Mapping[str, Path]) -> Any:
    """The acoustic tokenizer of an experiment."""
    return load_tokenizer(parts_tokenizers["acoustic"])
