"""Prefix extraction from a model of symbols: it is given beginnings of windows that it has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from etude.metrics.memorisation.extraction import COLUMNS, Continue, Ids, extract
from etude.storage import read_json, write_csv
from etude.systems.symbolic_lm.data import Windows
from etude.systems.symbolic_lm.sampling import continue_tokens
from etude.systems.symbolic_lm.stage import SymbolicLmStage, load_stage

VERSION = 1  # raised when figures change

BATCH = 32
HELD_OUT = ("valid", "test")
NO_TOKEN = -1  # behind the end of a piece that ends without a word for it


def continuation(stage: SymbolicLmStage) -> Continue:
    """The stage's greedy continuation; where it ends a piece early, the end stands to the last."""
    eos = stage.shape["eos"]
    fill = NO_TOKEN if eos is None else eos

    def go_on(prefixes: Ids, count: int) -> Ids:
        made = np.full((len(prefixes), count), fill, np.int64)
        for first in range(0, len(prefixes), BATCH):
            part = continue_tokens(stage, prefixes[first : first + BATCH].tolist(), count)
            for row, ids in zip(made[first : first + BATCH], part, strict=True):
                row[: len(ids)] = ids
        return made

    return go_on


def extract_symbolic(
    model: Path,
    packed: Path,
    count: int,
    lengths: Sequence[int],
    more: int,
    seed: int,
    output: Path,
) -> None:
    """Write the rows of a trained language model, with as many held-out as training windows.

    Args:
        model: folder of the stage.
        packed: packed token set.
        count: windows of either kind, at the most: one of a piece, so that they are independent.
        lengths: tokens of the prefixes.
        more: tokens that each is continued with.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    stage = load_stage(model).to(device).eval()
    items = {"train": _items(packed, ("train",), seed), "held_out": _items(packed, HELD_OUT, seed)}
    write_csv(output, COLUMNS, _rows(items, count, lengths, more, continuation(stage)))


def _rows(
    items: dict[str, list[Ids]], count: int, lengths: Sequence[int], more: int, go_on: Continue
) -> Iterator[dict[str, Any]]:
    """Each prefix length has the first windows that are long enough for it."""
    for length in lengths:
        need = length + more
        sets = {}
        for name, rows in items.items():
            long = [row[:need] for row in rows if len(row) >= need][:count]
            sets[name] = np.array(long, np.int64).reshape(len(long), need)
        for row in extract(sets, [length], more, go_on):
            if not row["n"] and items[row["items"]]:
                longest = max(map(len, items[row["items"]]))
                row["note"] = f"n/a: windows have {longest} tokens at most, {need} are needed"
            yield row


def _items(packed: Path, splits: Sequence[str], seed: int) -> list[Ids]:
    """A window of each piece as it stands in training, in random order."""
    info, random = read_json(packed / "info.json"), np.random.default_rng(seed)
    pad = info.get("pad") or 0
    found = []
    for split in splits:
        if not (packed / split).is_dir():
            continue
        windows = Windows(packed / split, pad, pad if info.get("bos") is None else None)
        order = random.permutation(len(windows))
        names = np.array(windows.pieces(), dtype=str)[order]
        _, first = np.unique(names, return_index=True)
        found += windows.rows(np.sort(order[first]).tolist()) if len(first) else []
    return [found[i] for i in random.permutation(len(found))]
