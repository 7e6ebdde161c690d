"""What clips are searched in: hashes, fingerprints and embeddings of a corpus, made once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from etude.audio.cuts import kept_segments, read_segments
from etude.config import Cut
from etude.metrics.memorisation.catalogue import Catalogue
from etude.metrics.memorisation.exact import pcm_hash
from etude.metrics.memorisation.fingerprint import RATE, features
from etude.metrics.memorisation.material import Music
from etude.metrics.registry import Options, open_embedding
from etude.storage import atomic, atomic_directory, read_csv, write_csv

VERSION = 1  # raised when the files change

HASHES = ["piece", "start_s", "hash"]
BATCH = 64

Places = dict[str, list[tuple[str, float]]]


def catalogue_corpus(
    pieces: Path, wav: list[Path], cuts: list[Path], cut: Cut, folder: Path
) -> None:
    """Write fingerprints.npz of the training split, hashes.csv of all kept segments."""
    music = Music(pieces, wav)
    with atomic_directory(folder) as temporary:
        named = ((piece, features(music.whole(piece, RATE))) for piece in music.names("train"))
        Catalogue.build(named).save(temporary / "fingerprints.npz")
        write_csv(temporary / "hashes.csv", HASHES, _hashes(music, wav, cuts, cut))


def _hashes(music: Music, wav: list[Path], cuts: list[Path], cut: Cut) -> Iterator[dict[str, str]]:
    for rows, waves in _segments(music, wav, cuts, cut.rate):
        for row, wave in zip(rows, waves, strict=True):
            place = {"piece": row["piece"], "start_s": row["start_s"]}
            yield place | {"hash": pcm_hash(wave)}


def _segments(
    music: Music, wav: list[Path], cuts: list[Path], rate: int
) -> Iterator[tuple[list[dict[str, str]], np.ndarray]]:
    """Kept segments of all splits, in batches: rows, float32 [segments, samples]."""
    for folder, shard in zip(wav, cuts, strict=True):
        rows = [row for row in kept_segments(shard) if row["piece"] in music.split]
        for first in range(0, len(rows), BATCH):
            part = rows[first : first + BATCH]
            yield part, read_segments(folder, part, rate)


def embed_corpus(
    pieces: Path,
    wav: list[Path],
    cuts: list[Path],
    rate: int,
    embedding: str,
    output: Path,
    options: Options | None = None,
) -> None:
    """Write windows [n, d] of all kept segments, with piece and start of each window's segment."""
    music = Music(pieces, wav)
    model = open_embedding(embedding, rate, options)
    windows, names, starts = [np.zeros((0, model.dim))], [], []
    for rows, waves in _segments(music, wav, cuts, model.sample_rate):
        for row, found in zip(rows, np.asarray(model.embed(waves)), strict=True):
            windows.append(found)
            names += [row["piece"]] * len(found)
            starts += [float(row["start_s"])] * len(found)
    arrays = {"windows": np.concatenate(windows), "start_s": np.array(starts, dtype=float)}
    with atomic(output) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays, piece=np.array(names, dtype=str))


def read_hashes(folder: Path, split: Mapping[str, str], *splits: str) -> Places:
    """{hash: [(piece, start in seconds)]} of some splits; of all, where none is named."""
    found: Places = defaultdict(list)
    for row in read_csv(folder / "hashes.csv"):
        if not splits or split.get(row["piece"]) in splits:
            found[row["hash"]].append((row["piece"], float(row["start_s"])))
    return dict(found)


def read_tokens(shards: list[Path], joined: bool) -> dict[str, list[np.ndarray]]:
    """Semantic tokens of each piece: one sequence where segments join, else one per segment."""
    found: dict[str, list[tuple[str, list[int]]]] = defaultdict(list)
    for path in shards:
        with path.open(encoding="utf-8") as file:
            for line in file:
                item = json.loads(line)
                found[item["piece"]].append((item["segment"], item["semantic"]))
    made = {}
    for piece, items in sorted(found.items()):
        parts = [np.array(ids, dtype=np.int64) for _, ids in sorted(items)]
        made[piece] = [np.concatenate(parts)] if joined else parts
    return made
