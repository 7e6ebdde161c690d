"""Beginnings of windows that a model of symbols has seen, as it saw them in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etude.devices import choose_device
from etude.systems.base import Beginnings, Ids, Parts
from etude.systems.symbolic_lm.data import TokenWindows
from etude.systems.symbolic_lm.sampling import continue_tokens
from etude.systems.symbolic_lm.stage import SymbolicLmStage, load_stage

VERSION = 1  # raised when figures change
BATCH = 32
HELD_OUT = ("valid", "test")
NO_TOKEN = -1  # after the end of a piece that ends without a word for it


def extract_prefixes(parts: Parts, settings: Any, seed: int) -> Beginnings:
    """Windows of training music and of music that was held out.

    One of a piece, so that they are independent; each length has those that are long enough.
    """
    stage = load_stage(parts.models["lm"]).to(choose_device())
    assert parts.packed is not None
    items = {
        "train": _items(parts.packed, parts.info, ("train",), seed),
        "held_out": _items(parts.packed, parts.info, HELD_OUT, seed),
    }
    lengths, more = settings.prefix_tokens, settings.continued_tokens
    return Beginnings(items, lengths, more, continuation(stage), by_length=True)


def continuation(stage: SymbolicLmStage) -> Callable[[Ids, int], Ids]:
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


def _items(packed: Path, info: dict[str, Any], splits: Sequence[str], seed: int) -> list[Ids]:
    """A window of each piece, in random order."""
    random, pad = np.random.default_rng(seed), info.get("pad") or 0
    found = []
    for split in splits:
        if not (packed / split).is_dir():
            continue
        windows = TokenWindows(packed / split, pad, pad if info.get("bos") is None else None)
        order = random.permutation(len(windows))
        names = np.array(windows.pieces(), dtype=str)[order]
        _, first = np.unique(names, return_index=True)
        found += windows.rows(np.sort(order[first]).tolist()) if len(first) else []
    return [found[i] for i in random.permutation(len(found))]
