"""Beginnings of segments for AudioLM's semantic stage to continue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import load_from_disk

from etude.clips.sampling import ClipStreams
from etude.config import Sampling
from etude.devices import choose_device
from etude.systems.audiolm.building import load_stage
from etude.systems.audiolm.sampling import continue_sequence
from etude.systems.audiolm.stages import SemanticStage
from etude.systems.base import Beginnings, Ids, Parts

VERSION = 1  # raised when figures change
BATCH = 32
SHARES = (0.25, 0.5, 0.75)  # of a segment, as the longest of prefix and continuation goes


def extract_prefixes(parts: Parts, settings: Any, seed: int) -> Beginnings:
    """Training segments and as many that were held out; a quarter of each is continued."""
    stage = load_stage(parts.models["semantic"]).to(choose_device())
    assert isinstance(stage, SemanticStage)
    assert parts.packed is not None

    def go_on(prefixes: Ids, count: int) -> Ids:
        """The greedy continuation; ends are never drawn, so that lengths are equal."""
        made = []
        for first in range(0, len(prefixes), BATCH):
            given = torch.from_numpy(prefixes[first : first + BATCH]).to(stage.device)
            given = torch.cat([torch.zeros_like(given[:, :1]), given], dim=1)
            streams = ClipStreams(list(range(len(given))), stage.device)
            new = continue_sequence(
                stage, given, count, streams, Sampling(temperature=0),
                forbidden=[stage.end, stage.segment_end],
            )  # fmt: skip
            made.append(new.cpu().numpy())
        return np.concatenate(made)

    if stage.shape["deduplicate_semantic"]:
        why = "n/a: merged tokens have no times, so there are no prefixes of a length"
        return Beginnings({}, [], 0, go_on, why)
    sets = {"train": ("train",), "held_out": ("valid", "test")}
    items = {
        name: _items(parts.packed, splits, settings.prefixes, seed) for name, splits in sets.items()
    }
    frames = int(stage.shape["semantic_frames"])
    more = frames // 4
    lengths = [round(share * frames) for share in SHARES if round(share * frames) + more <= frames]
    return Beginnings(items, lengths, more, go_on)


def _items(packed: Path, splits: tuple[str, ...], count: int, seed: int) -> list[Ids]:
    rows = []
    for split in splits:
        if (packed / split).is_dir():
            data = load_from_disk(str(packed / split))
            chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:count])
            rows += [np.asarray(data[int(i)]["semantic"], np.int64) for i in chosen]
    order = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[i] for i in np.sort(order)]
