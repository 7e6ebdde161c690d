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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from etude.config import CorpusBase
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.midi.notes import NoteTable
from etude.storage import atomic_directory, read_json, write_csv, write_text
from etude.systems.ngram import NGram
from etude.systems.symbolic_lm.files import write_table
from etude.systems.symbolic_lm.player import SymbolicInstrument, generate_symbolic
from etude.systems.symbolic_lm.stage import build_stage
from etude.tokenizers.symbolic.making import load as load_tokenizer
from etude.training.stage import choose_device

VERSION = 1  # raised when the clip sets change

SYMBOLIC_SETS = (*("reconstruction", "shuffled", "shuffled_bars", "untrained", "copies", "ngram"),)
COLUMNS = [
    *("clip", "file", "midi", "piece", "start_s", "seconds"),
    *("prime_seconds", "heard_seconds"),
]
ORDER = 5  # of the n-gram model
BAR = 4  # quarters


@dataclass
class Item:
    """A clip of a set: its notes, where it is of, and when hearing begins."""

    table: NoteTable
    piece: str = ""
    start_s: float = 0.0


class SymbolicBaselines:
    """Makes the sets of one experiment that are made of tokens.

    Args:
        packed: the token set's folder.
        tokenizer: its folder.
    """

    def __init__(
        self, experiment: SymbolicLm, packed: Path, tokenizer: Path, corpus: CorpusBase, seed: int
    ) -> None:
        import datasets

        self.info, self.settings, self.seed = (
            read_json(packed / "info.json"),
            experiment.generate,
            seed,
        )
        stage = build_stage(experiment, "lm", self.info, experiment.seeds.train[0]).eval()
        loaded = load_tokenizer(tokenizer)
        self.instrument = SymbolicInstrument(stage.to(choose_device()), loaded, corpus)
        self.splits = {s: datasets.load_from_disk(str(packed / s)) for s in ("train", "valid")}

    def make(self, name: str) -> Iterator[Item]:
        """One of SYMBOLIC_SETS."""
        made: Iterator[Item] = getattr(self, f"_{name}")()
        return made

    def why_not(self, name: str) -> str:
        """Why a set cannot be made of this corpus; empty where it can."""
        if name in ("reconstruction", "shuffled", "shuffled_bars") and not len(
            self.splits["valid"]
        ):
            return "no valid split: the corpus has fewer than three tune groups"
        return ""

    def _windows(self, split: str) -> list[dict[str, Any]]:
        """A seeded choice of a split's windows as they are (not transposed)."""
        dataset = self.splits[split]
        plain = np.flatnonzero(np.asarray(dataset["transpose"]) == 0)
        order = np.random.default_rng(self.seed).permutation(plain)
        return [dataset[int(i)] for i in order[: self.settings.clips]]

    def _heard(self, table: NoteTable, number: int, piece: str = "") -> Item:
        """A stretch somewhere in a window."""
        room = max(table.seconds - self.settings.seconds, 0.0)
        place = np.random.default_rng([self.seed, number]).random() * room
        return Item(table, piece, round(float(place), 3))

    def _decoded(self, split: str) -> Iterator[Item]:
        for number, row in enumerate(self._windows(split)):
            table = self.instrument.tokenizer.decode(row["input_ids"])
            yield self._heard(table, number, row["piece"])

    def _reconstruction(self) -> Iterator[Item]:
        return self._decoded("valid")

    def _copies(self) -> Iterator[Item]:
        return self._decoded("train")

    def _shuffled(self) -> Iterator[Item]:
        """Over all windows at once: each keeps its length and loses all else."""
        rows = self._windows("valid")
        ids = np.concatenate([row["input_ids"] for row in rows])
        mixed = np.random.default_rng(self.seed).permutation(ids)
        ends = np.cumsum([len(row["input_ids"]) for row in rows])
        for number, part in enumerate(np.split(mixed, ends[:-1])):
            yield self._heard(self.instrument.tokenizer.decode(part.tolist()), number)

    def _shuffled_bars(self) -> Iterator[Item]:
        for number, item in enumerate(self._decoded("valid")):
            yield self._heard(shuffle_bars(item.table, self.seed + number), number, item.piece)

    def _untrained(self) -> Iterator[Item]:
        for clip in generate_symbolic(self.instrument, self._plain(), self.seed):
            yield Item(clip.table)

    def _plain(self) -> Any:
        return self.settings.model_copy(update={"prompt": "none", "prime": None})

    def _ngram(self) -> Iterator[Item]:
        dataset, begin = self.splits["train"], self.instrument.begin
        rows = zip(dataset["input_ids"], dataset["window"], strict=True)
        own = self.instrument.tokenizer.bos is not None
        texts = [ids if own or window else [begin, *ids] for ids, window in rows]
        model = NGram(self.info["vocabulary"], ORDER).fit(texts)
        length = self.settings.new_tokens + 1
        eos = self.instrument.tokenizer.eos
        for ids in model.sample(self.settings.clips, length, self.seed, begin=[begin], end=eos):
            yield Item(self.instrument.tokenizer.decode(ids[1:]))


def shuffle_bars(table: NoteTable, seed: int) -> NoteTable:
    """Bars of four quarters in random order; notes go with the bar that they begin in."""
    length = BAR * table.ticks_per_quarter
    bar = table.onset // length
    order = np.random.default_rng(seed).permutation(int(bar.max(initial=0)) + 1)
    moved = replace(table, onset=table.onset + (order[bar] - bar) * length)
    return moved.at(moved.order())


def write_symbolic_set(baselines: SymbolicBaselines, name: str, folder: Path) -> int:
    """Write a set; an empty one keeps its reason in note.txt."""
    rows, instrument = [], baselines.instrument
    note, seconds = baselines.why_not(name), baselines.settings.seconds
    with atomic_directory(folder) as temporary:
        for index, item in enumerate(() if note else baselines.make(name)):
            wave = instrument.play(item.table, item.start_s + seconds)
            row = write_table(temporary, f"clip-{index:04d}", item.table, wave, instrument.rate)
            row |= {"piece": item.piece, "start_s": f"{item.start_s:.3f}" if item.piece else ""}
            heard = {"prime_seconds": f"{item.start_s:.3f}", "heard_seconds": f"{seconds:g}"}
            rows.append(row | heard)
        write_csv(temporary / "clips.csv", COLUMNS, rows)
        write_text(temporary / "note.txt", note + "\n" if note else "")
    return len(rows)
