"""Prefix extraction from AudioLM: its semantic stage is given beginnings of segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from datasets import load_from_disk

from etude.clips.sampling import ClipStreams
from etude.config import Sampling
from etude.metrics.memorisation.extraction import COLUMNS, Continue, Ids, extract
from etude.storage import write_csv
from etude.systems.audiolm.building import load_stage
from etude.systems.audiolm.sampling import continue_sequence
from etude.systems.audiolm.stages import SemanticStage

BATCH = 32
SHARES = (0.25, 0.5, 0.75)  # of a segment, as the longest of prefix and continuation goes


def continuation(stage: SemanticStage) -> Continue:
    """The stage's greedy continuation; ends are never said, so that lengths are equal."""

    def go_on(prefixes: Ids, count: int) -> Ids:
        parts = []
        for first in range(0, len(prefixes), BATCH):
            given = torch.from_numpy(prefixes[first : first + BATCH]).to(stage.device)
            given = torch.cat([torch.zeros_like(given[:, :1]), given], dim=1)
            streams = ClipStreams(list(range(len(given))), stage.device)
            made = continue_sequence(
                stage, given, count, streams, Sampling(temperature=0),
                forbidden=[stage.end, stage.segment_end],
            )  # fmt: skip
            parts.append(made.cpu().numpy())
        return np.concatenate(parts)

    return go_on


def extract_semantic(model: Path, packed: Path, count: int, seed: int, output: Path) -> None:
    """Write the rows of a trained semantic stage, with as many held-out as training segments.

    Args:
        model: folder of the semantic stage.
        packed: packed token set.
        count: segments of either kind.
    """
    stage = load_stage(model)
    assert isinstance(stage, SemanticStage)
    if stage.shape["deduplicate_semantic"]:
        why = "n/a: merged tokens have no times, so prefixes of a length cannot be had"
        write_csv(output, COLUMNS, [{"items": "train", "metric": "exact", "note": why}])
        return
    stage = stage.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    train = _items(packed, ("train",), count, seed)
    held_out = _items(packed, ("valid", "test"), count, seed)
    frames = int(stage.shape["semantic_frames"])
    more = frames // 4
    lengths = [round(share * frames) for share in SHARES if round(share * frames) + more <= frames]
    sets = {"train": train, "held_out": held_out}
    write_csv(output, COLUMNS, extract(sets, lengths, more, continuation(stage)))


def _items(packed: Path, splits: tuple[str, ...], count: int, seed: int) -> Ids:
    rows = []
    for split in splits:
        if (packed / split).is_dir():
            data = load_from_disk(str(packed / split))
            rows += [data[int(i)]["semantic"] for i in _chosen(len(data), count, seed)]
    order = np.random.default_rng(seed).permutation(len(rows))[:count]
    if not rows:  # a corpus of which nothing is held out
        return np.zeros((0, 0), dtype=np.int64)
    return np.array([rows[i] for i in np.sort(order)], dtype=np.int64)


def _chosen(n: int, count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(n)[:count])
