"""Clip sets that give a distance of generated songs its meaning.

reconstruction    held-out pieces through the autoencoder
shuffled_latents  latents of held-out texts in random order over bars and pieces, each in its place
gaussian_latents  normal random numbers on the released scale
untrained         the diffusion before training, with the released autoencoder
copies            training pieces: what a model that only remembers would make
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from etude.clips.clip import Clip
from etude.clips.progress import never, silent
from etude.clips.sampling import clip_seed
from etude.config.systems.released_phrases import ReleasedPhrases
from etude.systems.base import ClipSet
from etude.systems.conditions import Conditions
from etude.systems.phrase_ldm.phrases import Song, read_songs
from etude.systems.released_phrases.player import SongPlayer
from etude.systems.released_phrases.vocabulary import OF_BAR

VERSION = 1  # raised when the clip sets change

HELD_OUT = "valid"


class SongBaselines:
    """Makes the sets of one experiment.

    Args:
        player: of the released autoencoder and the diffusion before training.
        packed, latents: folders of the pieces, and of what the autoencoder makes of them.
        seed: of what is chosen and drawn.
    """

    def __init__(
        self,
        experiment: ReleasedPhrases,
        player: SongPlayer,
        packed: Path,
        latents: Path,
        seed: int,
    ) -> None:
        self.settings, self.player, self.seed = experiment.generate, player, seed
        self.first = experiment.seeds.train[0]
        tokenizer = player.translator.tokenizer
        self.songs = {s: read_songs(packed, s, tokenizer) for s in ("train", HELD_OUT)}
        self.latents = load_file(latents / f"{HELD_OUT}.safetensors")["mean"]

    def sets(self) -> Iterator[tuple[str, ClipSet]]:
        """Each set with its name, or none and the reason."""
        rate, note = self.player.rate, ""
        if not len(self.latents):
            note = "no valid split: the corpus has fewer than three tune groups"
        of_held_out = {"reconstruction": self._reconstruction, "shuffled_latents": self._shuffled}
        for name, make in of_held_out.items():
            yield name, ClipSet(() if note else make(), rate, note, midi=True)
        yield "gaussian_latents", ClipSet(self._gaussian(), rate, midi=True)
        yield "untrained", ClipSet(self._untrained(), rate, midi=True)
        yield "copies", ClipSet(self._copies(), rate, midi=True)

    def _clip(self, texts: list[list[int]], piece: str = "") -> Clip:
        bars = self.player.translator.read(texts)
        return self.player.clip(bars, self.settings, {"piece": piece})

    def _decoded(self, songs: Iterable[Tensor]) -> Iterator[Clip]:
        for latents in songs:
            yield self._clip(self.player.texts_of(latents))

    def _chosen(self, split: str) -> list[Song]:
        """As many pieces as there are clips, or all."""
        songs = self.songs[split]
        order = np.random.default_rng(self.seed).permutation(len(songs))
        return [songs[i] for i in order[: self.settings.clips]]

    def _reconstruction(self) -> Iterator[Clip]:
        lengths = [OF_BAR * len(song.bars) for song in self.songs[HELD_OUT]]
        every = zip(self.songs[HELD_OUT], self.latents.split(lengths), strict=True)
        latents = {id(song): rows for song, rows in every}
        for song in self._chosen(HELD_OUT):
            yield self._clip(self.player.texts_of(latents[id(song)]), song.piece)

    def _shuffled(self) -> Iterator[Clip]:
        random, bars = (
            np.random.default_rng([self.seed, 1]),
            self.latents.unflatten(0, (-1, OF_BAR)),
        )
        places = np.arange(OF_BAR)

        def drawn(number: int) -> Tensor:
            rows = random.integers(len(bars), size=(self.settings.bars, OF_BAR))
            return bars[rows, places].flatten(0, 1)

        return self._decoded(map(drawn, range(self.settings.clips)))

    def _gaussian(self) -> Iterator[Clip]:
        ldm = self.player.ldm
        size = OF_BAR * self.settings.bars, ldm.shape["latent"]

        def drawn(number: int) -> Tensor:
            stream = torch.Generator().manual_seed(clip_seed(self.seed, number))
            return torch.randn(*size, generator=stream) * ldm.settings.scale

        return self._decoded(map(drawn, range(self.settings.clips)))

    def _untrained(self) -> Iterator[Clip]:
        asked = self.player.prepare(self.settings, Conditions())
        how = (self.settings, self.first, self.seed, asked, silent, never)
        for clip in self.player.clips(*how):
            yield Clip(clip.wave, {"prime_seconds": "0.000"} | clip.row, clip.notes)

    def _copies(self) -> Iterator[Clip]:
        for song in self._chosen("train"):
            yield self.player.clip(song.bars, self.settings, {"piece": song.piece})
