"""The player of `released_phrases`: latents of whole songs, their texts, notes and sound."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from torch import Tensor

from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Tell, batches, part_of, stopping
from etude.clips.sampling import clip_seed
from etude.config import CorpusBase
from etude.config.systems.released_phrases import TRACKS, ReleasedPhrases, SongGenerate
from etude.devices import choose_device
from etude.errors import UserError
from etude.midi.continuation import after
from etude.midi.render import play_notes
from etude.systems.base import ShouldStop
from etude.systems.conditions import Conditions, refuse
from etude.systems.released_phrases.dit import ReleasedDit
from etude.systems.released_phrases.vae import ReleasedVae
from etude.systems.released_phrases.vocabulary import LONGEST, Translator, ended
from etude.tokenizers.symbolic.remi_z_vocabulary import Bar

VERSION = 1  # raised when the same latents give other clips

QUARTERS = 4  # of a bar


@dataclass(frozen=True)
class Asked:
    """What all clips are asked to be: bars, and seconds at which they are cut (None: nowhere)."""

    bars: int
    seconds: float | None = None


class SongPlayer:
    """Both networks, the words, and how notes are played.

    Raises:
        UserError: the two networks do not fit together.
    """

    Settings = SongGenerate

    def __init__(
        self, vae: ReleasedVae, ldm: ReleasedDit, translator: Translator, corpus: CorpusBase
    ) -> None:
        if vae.settings.latent != ldm.shape["latent"]:
            raise UserError(
                "the autoencoder does not fit the diffusion",
                code="another-autoencoder",
                why=f"its latents have {vae.settings.latent} numbers, and those of the diffusion "
                f"{ldm.shape['latent']}",
                do="name weights that were given out together",
            )
        device = choose_device()
        self.vae, self.ldm = vae.to(device).eval(), ldm.to(device).eval()
        self.translator, self.corpus = translator, corpus

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return self.corpus.render.rate

    def prepare(self, settings: SongGenerate, conditions: Conditions) -> Asked:
        """Read what clips are asked to be.

        Raises:
            UserError: more than a length, or more bars than there is room for.
        """
        refuse(conditions, ReleasedPhrases.conditions, "released_phrases")
        bars, room = settings.bars, self.ldm.settings.longest // (TRACKS + 1)
        if conditions.bars is not None:
            bars = ceil(conditions.bars)
        elif conditions.seconds is not None:
            bars = ceil(conditions.seconds * self.tempo(settings) / 60 / QUARTERS)
        if bars > room:
            raise UserError(
                f"{bars} bars are asked for",
                code="too-many-bars",
                why=f"the released network has room for {room}",
                do=f"ask for {room} at most",
            )
        return Asked(bars, conditions.seconds)

    def tempo(self, settings: SongGenerate) -> float:
        """Quarters a minute."""
        return settings.tempo or self.translator.tokenizer.settings.tempo

    def clips(
        self,
        settings: SongGenerate,
        seed: int,
        draw: int,
        conditions: Asked,
        progress: Tell,
        should_stop: ShouldStop,
    ) -> Iterator[Clip]:
        """Make songs batch by batch; each has random numbers of its own."""
        began = time.perf_counter()
        for part in batches(settings.clips, settings.batch_size):
            tell = part_of(stopping(progress, should_stop), part, settings.clips)

            def report(share: float, tell: Tell = tell) -> None:
                used = time.perf_counter() - began
                tell(GenerationProgress("ldm", 90 * share, used, used * (1 / share - 1)))

            seeds = [clip_seed(draw, number) for number in part]
            for latents in self.ldm.make(seeds, conditions.bars, settings.denoising, report):
                texts = self.texts_of(latents)
                row = {"seed": seed, "draw": draw, "ended": str(ended(texts)).lower()}
                bars = self.translator.read(texts)
                row["bars"] = len(bars)
                yield self.clip(bars, settings, row, conditions.seconds)

    def texts_of(self, latents: Tensor) -> list[list[int]]:
        """The texts of latents [n, z], greedily."""
        return self.vae.decode(latents, LONGEST - 1)

    def clip(
        self,
        bars: Sequence[Bar],
        settings: SongGenerate,
        row: dict[str, Any],
        seconds: float | None = None,
    ) -> Clip:
        """Bars as a clip: cut where a length in time is asked, else whole."""
        if settings.programs:
            bars = [replace(bar, instruments=settings.programs) for bar in bars]
        tokenizer = self.translator.tokenizer
        table = tokenizer.decode(tokenizer.join(bars))
        tempos = np.array([[0, round(60e6 / self.tempo(settings))]], np.int64)
        table = replace(table, tempos=tempos)
        if seconds is not None:
            table = after(table, 0.0, seconds)
        wave = play_notes(table, self.corpus, seconds or settings.seconds)
        if seconds is not None:
            wave = wave[: round(seconds * self.rate)]
        row |= {"prime_seconds": "0.000", "heard_seconds": f"{settings.seconds:g}"}
        return Clip(wave, row, table, rate=self.rate)
