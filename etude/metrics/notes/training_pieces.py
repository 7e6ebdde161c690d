"""The MIDI files of a corpus's training split, in the order of their pieces."""

from __future__ import annotations

from pathlib import Path

from etude.corpus.piece_paths import piece_paths
from etude.storage import read_csv


def training_files(root: Path, ingest: list[Path], pieces: Path) -> list[Path]:
    """Paths of the training split's pieces.

    Args:
        root: where the corpus lies.
        ingest: tables of the corpus's shards.
        pieces: pieces.csv, which holds the split.
    """
    wanted = sorted(row["piece"] for row in read_csv(pieces) if row["split"] == "train")
    paths = piece_paths(root, [row for table in ingest for row in read_csv(table)])
    midi = (".mid", ".midi", ".rmi", ".kar")
    return [paths[p] for p in wanted if p in paths and paths[p].suffix.lower() in midi]
