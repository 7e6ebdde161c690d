"""Windows of symbols as batches: one a row, or one after the other without gaps; augmented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from etude.config.systems.symbolic_lm import SymbolicTraining
from etude.errors import UserError
from etude.systems.base import Batch, Data, Ids

VERSION = 1  # raised when steps see other tokens

# How the tokenizers' names say a pitch or a velocity: what stands before, the number, the rest.
PITCHED = re.compile(r"(on_|off_|Pitch_|NoteOn_|NoteOff_|p-)(\d+)((?:_\d+)?)")
LOUD = re.compile(r"(Velocity_|v-)(\d+)()")


class Shifts:
    """Which id says the same a number of semitones higher, or so much louder.

    Args:
        names: a readable name of each id.
        pitch, velocity: the farthest shifts.

    Raises:
        UserError: no name tells of a pitch (byte pairs).
    """

    def __init__(self, names: list[str], pitch: int, velocity: int) -> None:
        ids = {name: number for number, name in enumerate(names)}
        pitched = {i: m for i, name in enumerate(names) if (m := PITCHED.fullmatch(name))}
        loud = {i: m for i, name in enumerate(names) if (m := LOUD.fullmatch(name))}
        if not pitched:
            raise UserError(
                "this tokenizer's tokens cannot be moved in pitch",
                code="cannot-be-transposed",
                why="augmentation reads each token's name, and none says a pitch alone (byte pairs "
                "stand for several tokens)",
                do="set `training: {augment: {share: 0}}`, or use transpositions of the token set",
            )
        same = np.arange(len(names))
        self.pitch, self.velocity = {0: same}, {0: same}
        for shift in range(-pitch, pitch + 1):
            self.pitch[shift] = table = same.copy()
            for number, m in pitched.items():
                table[number] = ids.get(f"{m[1]}{int(m[2]) + shift}{m[3]}", -1)
        levels = np.array(sorted(int(m[2]) for m in loud.values()) or [0])
        for shift in range(-velocity, velocity + 1):
            self.velocity[shift] = table = same.copy()
            for number, m in loud.items():  # the nearest level that there is
                level = levels[np.abs(levels - int(m[2]) - shift).argmin()]
                table[number] = ids[f"{m[1]}{level}"]

    def change(self, ids: Ids, share: float, place: float) -> Ids:
        """A sequence with its pitch moved, its velocity moved, both or neither, by chance.

        Where a shift would leave the tokenizer's range the sequence stays as it is.
        """
        random = np.random.default_rng(int(place * 2**53))
        for table in (self.pitch, self.velocity):
            hit, shift = random.random() < share, int(random.choice(list(table)))
            if hit and (moved := table[shift][ids]).min() >= 0:
                ids = moved
        return ids


class TokenWindows:
    """A split's windows, read from disk as they are asked for.

    Where a tokenizer has no word for the beginning of a piece, `begin` stands there, so that
    music can be generated from nothing and no token goes without a prediction.

    Args:
        folder: a split's folder as written by `datasets.Dataset.save_to_disk`.
        begin: the id before a piece's first window; None where the windows have their own.
        pad: the id that fills rows up; no loss is taken there.
        items: use only this many, the first ones.
    """

    def __init__(
        self,
        folder: Path,
        pad: int,
        begin: int | None = None,
        items: int | None = None,
        shifts: Shifts | None = None,
        share: float = 0.0,
    ) -> None:
        import datasets

        dataset = datasets.load_from_disk(str(folder))
        self._size = min(len(dataset), items or len(dataset))
        self._dataset = dataset.with_format("numpy", columns=["input_ids", "window"])
        self._pieces = dataset.with_format(None, columns=["piece"])
        self.begin = begin
        self.pad, self.shifts, self.share = pad, shifts, share

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> list[str]:
        """The piece of each window."""
        return list(self._pieces["piece"][: self._size])

    def rows(self, indices: list[int]) -> list[Ids]:
        """Ids of windows, each of its own length."""
        found = self._dataset[indices]
        rows = [np.asarray(row, np.int64) for row in found["input_ids"]]
        if self.begin is None:
            return rows
        first = np.asarray(found["window"]) == 0
        begin = np.full(1, self.begin, np.int64)
        return [np.append(begin, r) if f else r for r, f in zip(rows, first, strict=True)]

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """ids [B, T], filled up with `pad`, and lengths [B]; `places` as seeds of augmentation."""
        rows = self.rows(indices)
        if self.shifts is not None and places is not None:
            rows = [
                self.shifts.change(row, self.share, place)
                for row, place in zip(rows, places, strict=True)
            ]
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = np.full((len(rows), lengths.max(initial=2)), self.pad, np.int64)
        for row, content in zip(ids, rows, strict=True):
            row[: len(content)] = content
        return {"ids": torch.from_numpy(ids), "lengths": torch.from_numpy(lengths)}


class PackedRows(TokenWindows):
    """The windows of a split one after the other, cut into rows of `context` + 1 tokens.

    The order is drawn once: windows of a piece overlap, and a row that said the same twice would
    teach to copy. Each row begins with the last token of the one before, so that no token goes
    without a prediction.
    """

    def __init__(self, context: int, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.context = context + 1  # of a row the last token is only predicted
        self.order = np.random.default_rng(0).permutation(self._size)
        self.ends = np.cumsum(self._lengths()[self.order])
        self.total = int(self.ends[-1]) if self._size else 0

    def __len__(self) -> int:
        return max((self.total - 1) // (self.context - 1), min(self._size, 1))

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """ids [B, context + 1] and lengths [B]."""
        needed = [self._windows(index) for index in indices]
        unique = sorted({number for _, numbers in needed for number in numbers})
        texts = dict(zip(unique, self.rows(self.order[unique].tolist()), strict=True))
        ids = np.full((len(indices), self.context), self.pad, np.int64)
        lengths = np.zeros(len(indices), np.int64)
        for row, (skip, numbers) in enumerate(needed):
            parts = [texts[number] for number in numbers]
            if self.shifts is not None and places is not None:  # a row is moved as a whole
                parts = [self.shifts.change(np.concatenate(parts), self.share, places[row])]
            content = np.concatenate(parts)[skip : skip + self.context]
            ids[row, : len(content)], lengths[row] = content, len(content)
        return {"ids": torch.from_numpy(ids), "lengths": torch.from_numpy(lengths)}

    def _lengths(self) -> Ids:
        """Tokens of each window, without reading them."""
        import pyarrow.compute as pc

        chunks = self._dataset.data.column("input_ids").chunks
        parts = [pc.list_value_length(chunk).to_numpy(zero_copy_only=False) for chunk in chunks]
        lengths = np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)[: self._size]
        if self.begin is not None:
            windows = self._dataset.data.column("window").to_numpy()[: self._size]
            lengths += windows == 0
        return lengths

    def _windows(self, row: int) -> tuple[int, list[int]]:
        """Where a row begins in the first of its windows, and which windows these are."""
        start = row * (self.context - 1)
        end = min(start + self.context, self.total)
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.ends, end - 1, side="right"))
        before = int(self.ends[first - 1]) if first else 0
        return start - before, list(range(first, last + 1))


def open_data(
    packed: Path, info: dict[str, Any], settings: SymbolicTraining, tokenizer: Path | None
) -> tuple[Data, Data]:
    """Training data as the settings want it, and the validation split's windows.

    Raises:
        UserError: augmentation is wanted of a tokenizer whose tokens have no pitch.
    """
    pad, augment = info.get("pad") or 0, settings.augment
    begin = pad if info.get("bos") is None else None
    options: dict[str, Any] = {"items": settings.train_items, "begin": begin}
    if augment.share:
        from etude.tokenizers.registry import load_tokenizer

        if tokenizer is None:
            raise ValueError("augmentation needs the tokenizer's folder")
        names = load_tokenizer(tokenizer).names()
        options |= {"shifts": Shifts(names, augment.pitch, augment.velocity)}
        options |= {"share": augment.share}
    folder = packed / "train"
    train: Data = (
        TokenWindows(folder, pad, **options)
        if settings.sequences == "windowed"
        else PackedRows(info["window"], folder, pad, **options)
    )
    return train, TokenWindows(packed / "valid", pad, begin)
