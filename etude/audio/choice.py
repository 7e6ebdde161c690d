"""A seeded choice of a corpus's training segments, the same however it is sharded."""

from __future__ import annotations

import hashlib
import heapq
from pathlib import Path

from etude.audio.cuts import kept_segments
from etude.storage import read_csv

Segment = tuple[Path, dict[str, str]]  # folder of piece WAVs, row of the cut's index.csv


def choose_segments(
    wav: list[Path], cuts: list[Path], pieces: Path, count: int, seed: int
) -> list[Segment]:
    """At most `count` kept segments of training pieces, in the order of their names.

    A segment's rank is a hash of its name and the seed: the choice is spread over all pieces,
    knows nothing of shards, and a new piece displaces few others.
    """
    training = training_pieces(pieces)
    candidates = (
        (folder, row)
        for folder, shard in zip(wav, cuts, strict=True)
        for row in kept_segments(shard)
        if row["piece"] in training
    )
    chosen = heapq.nsmallest(count, candidates, key=lambda item: _rank(item[1]["segment"], seed))
    return sorted(chosen, key=lambda item: item[1]["segment"])


def training_pieces(pieces: Path) -> set[str]:
    """The pieces of the training split, by pieces.csv."""
    return {row["piece"] for row in read_csv(pieces) if row["split"] == "train"}


def _rank(segment: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{segment}".encode()).digest()
