"""Clip sets that give a distance of a symbolic model its meaning.

reference, real, noise  as for audio (etude.generation.baselines): the same pieces, the same cut
reconstruction          held-out windows through the tokenizer and the synthesiser: the best that a
                        model of these tokens can do
shuffled                those windows' tokens in random order: the right tokens, no music
shuffled_bars           their bars in random order: right bars, no form
untrained               the network before training, sampled alike
copies                  windows of the training split: what a model that only remembers would give
ngram                   a Kneser-Ney 5-gram model of the same training windows

Of a window a stretch anywhere in it is heard, as the real clips are cut anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import datasets
import numpy as np

from etude.clips.clip import Clip
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.devices import choose_device
from etude.midi.notes import NoteTable
from etude.systems.base import ClipSet, Parts
from etude.systems.ngram import NGram
from etude.systems.symbolic_lm.player import SymbolicLmPlayer
from etude.systems.symbolic_lm.stage import build_stage
from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer as load_tokenizer

VERSION = 2  # raised when the clip sets change

ORDER = 5  # of the n-gram model
BAR = 4  # quarters


class SymbolicBaselines:
    """Makes the sets of one experiment that are made of tokens."""

    def __init__(self, experiment: SymbolicLm, parts: Parts, seed: int) -> None:
        assert parts.packed is not None
        assert parts.corpus is not None
        self.info, self.settings, self.seed = parts.info, experiment.generate, seed
        stage = build_stage(experiment, "lm", self.info, experiment.seeds.train[0]).eval()
        tokenizer = load_tokenizer(parts.tokenizers["tokenizer"])
        self.player = SymbolicLmPlayer(stage.to(choose_device()), tokenizer, parts.corpus)
        folders = {split: str(parts.packed / split) for split in ("train", "valid")}
        self.splits = {split: datasets.load_from_disk(path) for split, path in folders.items()}

    def sets(self) -> Iterator[tuple[str, ClipSet]]:
        """Each set with its name, or none and the reason."""
        rate, note = self.player.rate, ""
        if not len(self.splits["valid"]):
            note = "no valid split: the corpus has fewer than three tune groups"
        of_valid = {
            "reconstruction": self._decoded("valid"),
            "shuffled": self._shuffled(),
            "shuffled_bars": self._shuffled_bars(),
        }
        for name, clips in of_valid.items():
            yield name, ClipSet(() if note else clips, rate, note, midi=True)
        yield "untrained", ClipSet(self._untrained(), rate, midi=True)
        yield "copies", ClipSet(self._decoded("train"), rate, midi=True)
        yield "ngram", ClipSet(self._ngram(), rate, midi=True)

    def _windows(self, split: str) -> list[dict[str, Any]]:
        """A seeded choice of a split's windows as they are (not transposed)."""
        dataset = self.splits[split]
        plain = np.flatnonzero(np.asarray(dataset["transpose"]) == 0)
        order = np.random.default_rng(self.seed).permutation(plain)
        return [dataset[int(i)] for i in order[: self.settings.clips]]

    def _clip(self, table: NoteTable, piece: str = "", start_s: float = 0.0) -> Clip:
        """Notes, of which metrics hear a stretch that begins at `start_s`."""
        seconds = self.settings.seconds
        row = {
            "piece": piece,
            "start_s": f"{start_s:.3f}" if piece else "",
            "prime_seconds": f"{start_s:.3f}",
            "heard_seconds": f"{seconds:g}",
        }
        return Clip(self.player.play(table, start_s + seconds), row, table)

    def _stretch(self, table: NoteTable, number: int, piece: str = "") -> Clip:
        """A stretch somewhere in a window."""
        room = max(table.seconds - self.settings.seconds, 0.0)
        place = np.random.default_rng([self.seed, number]).random() * room
        return self._clip(table, piece, round(float(place), 3))

    def _tables(self, split: str) -> Iterator[tuple[int, str, NoteTable]]:
        for number, row in enumerate(self._windows(split)):
            yield number, row["piece"], self.player.tokenizer.decode(row["input_ids"])

    def _decoded(self, split: str) -> Iterator[Clip]:
        for number, piece, table in self._tables(split):
            yield self._stretch(table, number, piece)

    def _shuffled(self) -> Iterator[Clip]:
        """Over all windows at once: each keeps its length and loses all else."""
        rows = self._windows("valid")
        ids = np.concatenate([row["input_ids"] for row in rows])
        mixed = np.random.default_rng(self.seed).permutation(ids)
        ends = np.cumsum([len(row["input_ids"]) for row in rows])
        for number, part in enumerate(np.split(mixed, ends[:-1])):
            yield self._stretch(self.player.tokenizer.decode(part.tolist()), number)

    def _shuffled_bars(self) -> Iterator[Clip]:
        for number, piece, table in self._tables("valid"):
            yield self._stretch(shuffle_bars(table, self.seed + number), number, piece)

    def _untrained(self) -> Iterator[Clip]:
        """From nothing, whatever the experiment's clips continue."""
        for music in self.player.music(self.settings, self.seed):
            yield self._clip(music.table)

    def _ngram(self) -> Iterator[Clip]:
        dataset, begin = self.splits["train"], self.player.begin
        rows = zip(dataset["input_ids"], dataset["window"], strict=True)
        own = self.player.tokenizer.bos is not None
        texts = [ids if own or window else [begin, *ids] for ids, window in rows]
        model = NGram(self.info["vocabulary"], ORDER).fit(texts)
        length = self.settings.new_tokens + 1
        eos = self.player.tokenizer.eos
        for ids in model.sample(self.settings.clips, length, self.seed, begin=[begin], end=eos):
            yield self._clip(self.player.tokenizer.decode(ids[1:]))


def shuffle_bars(table: NoteTable, seed: int) -> NoteTable:
    """Bars of four quarters in random order; notes go with the bar that they begin in.

    An upbeat stays where it is: it has no bar to change places with.
    """
    length, upbeat = BAR * table.ticks_per_quarter, table.upbeat
    bar = (table.onset - upbeat) // length
    order = np.random.default_rng(seed).permutation(max(int(bar.max(initial=0)), 0) + 1)
    moves = np.where(bar < 0, 0, (order[bar] - bar) * length)
    moved = replace(table, onset=table.onset + moves)
    return moved.at(moved.order())
