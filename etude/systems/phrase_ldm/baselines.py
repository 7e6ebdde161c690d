"""Clip sets that give a distance of generated pieces its meaning.

reconstruction    held-out pieces through the autoencoder: the best that a model of its latents can
                  do
shuffled_latents  latents of held-out phrases in random order over bars and pieces, each in its slot
gaussian_latents  normal random numbers on the scale of the latents
untrained         the diffusion before training, with the trained autoencoder
independent_bars  whole bars of held-out pieces in random order: right bars, no form
ngram             a Kneser-Ney 5-gram model of the training pieces' tokens
copies            training pieces: what a model that only remembers would make

Sets that are made of bars are as long as generated clips, and as many. Of pieces metrics hear a
stretch anywhere (etude.metrics.clip_sets).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from etude.clips.clip import Clip
from etude.clips.progress import batches, never, silent
from etude.clips.sampling import clip_seed
from etude.config.systems.phrase_ldm import PhraseLdm
from etude.midi.notes import NoteTable
from etude.midi.render import play_notes
from etude.systems.base import ClipSet, Parts
from etude.systems.conditions import Conditions
from etude.systems.ngram import NGram
from etude.systems.phrase_ldm.ldm import Ldm
from etude.systems.phrase_ldm.phrases import Song, read_songs
from etude.systems.phrase_ldm.player import PhraseLdmPlayer
from etude.systems.phrase_ldm.vae import Vae
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer

VERSION = 1  # raised when the clip sets change

ORDER = 5  # of the n-gram model
HELD_OUT = "valid"


class PhraseBaselines:
    """Makes the sets of one experiment.

    Args:
        vae, ldm: the trained autoencoder, and the diffusion before training.
        seed: of what is chosen and drawn.
    """

    def __init__(
        self,
        experiment: PhraseLdm,
        parts: Parts,
        vae: Vae,
        ldm: Ldm,
        tokenizer: RemiZTokenizer,
        seed: int,
    ) -> None:
        assert parts.packed is not None
        assert parts.corpus is not None
        # What clips are asked to be is for the experiment's own.
        unasked = experiment.generate.model_dump(exclude=set(experiment.generate.conditions))
        self.settings = type(experiment.generate).model_validate(unasked)
        self.first, self.seed, self.tokenizer = experiment.seeds.train[0], seed, tokenizer
        self.player = PhraseLdmPlayer(vae, ldm, tokenizer, parts.corpus)
        self.songs = {s: read_songs(parts.packed, s, tokenizer) for s in ("train", HELD_OUT)}
        self.latents = load_file(parts.latents["vae"] / f"{HELD_OUT}.safetensors")["mean"]
        self.asked = self.player.prepare(self.settings, Conditions())

    def sets(self) -> Iterator[tuple[str, ClipSet]]:
        """Each set with its name, or none and the reason."""
        rate, note = self.player.rate, ""
        if not len(self.latents):
            note = "no valid split: the corpus has fewer than three tune groups"
        of_held_out = {
            "reconstruction": self._reconstruction,
            "shuffled_latents": self._shuffled,
            "independent_bars": self._independent_bars,
        }
        for name, make in of_held_out.items():
            yield name, ClipSet(() if note else make(), rate, note, midi=True)
        yield "gaussian_latents", ClipSet(self._gaussian(), rate, midi=True)
        yield "untrained", ClipSet(self._untrained(), rate, midi=True)
        yield "copies", ClipSet(self._copies(), rate, midi=True)
        yield "ngram", ClipSet(self._ngram(), rate, midi=True)

    def _clip(self, table: NoteTable, piece: str = "") -> Clip:
        row = {"piece": piece, "prime_seconds": "0.000"}
        row["heard_seconds"] = f"{self.settings.seconds:g}"
        return Clip(play_notes(table, self.player.corpus, self.settings.seconds), row, table)

    def _decoded(self, pieces: Iterable[Tensor], names: Sequence[str] = ()) -> Iterator[Clip]:
        """Latents of pieces as clips, in batches."""
        every = list(pieces)
        for part in batches(len(every), self.settings.batch_size):
            found = self.player.bars_of(every[part.start : part.stop], self.asked)
            for number, bars in zip(part, found, strict=True):
                table = self.player.notes_of(bars, self.asked.shift)
                yield self._clip(table, names[number] if names else "")

    def _chosen(self, split: str) -> list[Song]:
        """As many pieces as there are clips, or all."""
        songs = self.songs[split]
        order = np.random.default_rng(self.seed).permutation(len(songs))
        return [songs[i] for i in order[: self.settings.clips]]

    def _drawn(self, rows: int, stream: int) -> Iterator[np.ndarray]:
        """For each clip and bar one of the rows: each comes as often as the others."""
        random, bars = np.random.default_rng([self.seed, stream]), self.asked.bars
        needed = self.settings.clips * bars
        rounds = [random.permutation(rows) for _ in range(-(-needed // rows))]
        return iter(np.concatenate(rounds)[:needed].reshape(-1, bars))

    def _reconstruction(self) -> Iterator[Clip]:
        lengths = [len(song.bars) for song in self.songs[HELD_OUT]]
        latents = dict(zip(map(id, self.songs[HELD_OUT]), self.latents.split(lengths), strict=True))
        chosen = self._chosen(HELD_OUT)
        for song in chosen:
            (bars,) = self.player.bars_of([latents[id(song)]], self.asked)
            kept = [
                replace(own, phrases=bar.phrases) for bar, own in zip(bars, song.bars, strict=True)
            ]
            yield self._clip(self.player.notes_of(kept), song.piece)

    def _shuffled(self) -> Iterator[Clip]:
        slots = range(self.latents.shape[1])
        drawn = zip(*(self._drawn(len(self.latents), slot) for slot in slots), strict=True)
        pieces = (
            torch.stack([self.latents[rows, slot] for slot, rows in enumerate(of_slots)], 1)
            for of_slots in drawn
        )
        return self._decoded(pieces)

    def _independent_bars(self) -> Iterator[Clip]:
        signature = self.player.signature(self.asked.meter)
        every = [bar for song in self.songs[HELD_OUT] for bar in song.bars]
        bars = [replace(bar, start=0) for bar in every if bar.signature == signature]
        for rows in self._drawn(len(bars), self.latents.shape[1]) if bars else ():
            yield self._clip(self.player.notes_of([bars[i] for i in rows]))

    def _gaussian(self) -> Iterator[Clip]:
        ldm, inner = self.player.ldm, self.latents.shape[1:]
        mean, deviation = ldm.mean.cpu(), ldm.deviation.cpu()

        def draw(number: int) -> Tensor:
            stream = torch.Generator().manual_seed(clip_seed(self.seed, number))
            noise = torch.randn(self.asked.bars, *inner, generator=stream)
            return noise * deviation + mean

        return self._decoded(map(draw, range(self.settings.clips)))

    def _untrained(self) -> Iterator[Clip]:
        how = (self.settings, self.first, self.seed, self.asked, silent, never)
        for clip in self.player.clips(*how):
            assert clip.notes is not None
            yield Clip(clip.wave, {"prime_seconds": "0.000"} | clip.row, clip.notes)

    def _copies(self) -> Iterator[Clip]:
        for song in self._chosen("train"):
            yield self._clip(self.player.notes_of(song.bars), song.piece)

    def _ngram(self) -> Iterator[Clip]:
        tokenizer = self.tokenizer
        texts = [
            [tokenizer.bos, *tokenizer.join(song.bars), tokenizer.eos]
            for song in self.songs["train"]
        ]
        model = NGram(tokenizer.vocabulary, ORDER).fit(texts)
        length = max(map(len, texts))
        begin = [tokenizer.bos]
        for ids in model.sample(
            self.settings.clips, length, self.seed, begin=begin, end=tokenizer.eos
        ):
            yield self._clip(self.player.notes_of(tokenizer.bars(ids[1:])))
