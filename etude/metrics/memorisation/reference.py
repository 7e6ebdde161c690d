"""What clips are searched in: hashes, fingerprints, chroma and embeddings of a corpus."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etude.audio.cuts import kept_segments, read_segments
from etude.config import Cut
from etude.errors import UserError
from etude.metrics.memorisation import chroma
from etude.metrics.memorisation.catalogue import Catalogue
from etude.metrics.memorisation.exact import pcm_hash
from etude.metrics.memorisation.excerpts import CorpusPieces
from etude.metrics.memorisation.fingerprint import RATE, features
from etude.metrics.registry import Options, open_embedding
from etude.pool import Failed, tried, tried_together
from etude.storage import atomic, atomic_directory, read_csv, write_csv

VERSION = 3  # raised when the files change

HASHES = ["piece", "start_s", "hash"]
LEFT_OUT = ["piece", "reason"]
BATCH = 64

log = logging.getLogger(__name__)

Places = dict[str, list[tuple[str, float]]]


def catalogue_corpus(
    pieces: Path, wav: list[Path], cuts: list[Path], cut: Cut, folder: Path
) -> None:
    """Write fingerprints.npz, chroma.npz of the training split, hashes.csv of all kept segments.

    left_out.csv has the pieces that could not be searched in, whole or in part, and why.
    """
    music = CorpusPieces(pieces, wav)
    left: dict[str, str] = {}
    with atomic_directory(folder) as temporary:
        Catalogue.build(_features(features, music, left)).save(temporary / "fingerprints.npz")
        harmonies = _features(chroma.features, music, left)
        chroma.Chroma.build(harmonies).save(temporary / "chroma.npz")
        rows = (
            {"piece": row["piece"], "start_s": row["start_s"], "hash": found}
            for row, found in _segments(
                music, wav, cuts, cut.rate, lambda waves: list(map(pcm_hash, waves)), left
            )
        )
        write_csv(temporary / "hashes.csv", HASHES, rows)
        lost = ({"piece": piece, "reason": reason} for piece, reason in sorted(left.items()))
        write_csv(temporary / "left_out.csv", LEFT_OUT, lost)


def _features(
    work: Callable[[np.ndarray], np.ndarray], music: CorpusPieces, left: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    """(piece, feature) of the training split, from waves at RATE."""
    for piece in music.names("train"):
        found = tried(lambda name: work(music.whole(name, RATE)), piece)
        if isinstance(found, Failed):
            _leave_out(piece, found.reason, left)
        else:
            yield piece, found


def _segments(
    music: CorpusPieces,
    wav: list[Path],
    cuts: list[Path],
    rate: int,
    work: Callable[[np.ndarray], Sequence[Any]],
    left: dict[str, str],
) -> Iterator[tuple[dict[str, str], Any]]:
    """Each kept segment of all splits, and what `work` makes of it.

    Args:
        work: from waves, float32 [segments, samples], to a result for each.
        left: what is left out: reasons by piece.
    """
    for folder, shard in zip(wav, cuts, strict=True):
        rows = [row for row in kept_segments(shard) if row["piece"] in music.split]
        for first in range(0, len(rows), BATCH):
            part = rows[first : first + BATCH]
            made = tried_together(partial(_read_and, work, folder, rate), part)
            for row, result in zip(part, made, strict=True):
                if isinstance(result, Failed):
                    _leave_out(row["piece"], result.reason, left)
                else:
                    yield row, result


def _read_and(
    work: Callable[[np.ndarray], Sequence[Any]], folder: Path, rate: int, rows: Sequence[Any]
) -> Sequence[Any]:
    return work(read_segments(folder, rows, rate))


def _leave_out(piece: str, reason: str, left: dict[str, str]) -> None:
    if piece not in left:
        log.warning("%s is left out, or a part of it: %s", piece, reason)
    left.setdefault(piece, reason)


def embed_corpus(
    pieces: Path,
    wav: list[Path],
    cuts: list[Path],
    rate: int,
    embedding: str,
    output: Path,
    options: Options | None = None,
) -> None:
    """Write windows [n, d] of all kept segments, with piece and start of each window's segment.

    Raises:
        UserError: not one of them could be embedded.
    """
    music = CorpusPieces(pieces, wav)
    model = open_embedding(embedding, rate, options)
    windows, names, starts = [np.zeros((0, model.dim))], [], []
    left: dict[str, str] = {}
    segments = _segments(
        music, wav, cuts, model.sample_rate, lambda w: list(np.asarray(model.embed(w))), left
    )
    for row, found in segments:
        if not np.isfinite(found).all():
            _leave_out(row["piece"], "not_finite: its embedding", left)
            continue
        windows.append(found)
        names += [row["piece"]] * len(found)
        starts += [float(row["start_s"])] * len(found)
    if left and not names:
        raise UserError(
            f"no segment could be embedded by {embedding}",
            code="embedding-failed",
            why=next(iter(left.values())),
            do="if it is one of your own, fix it; else leave it out of `evaluation: embeddings`",
        )
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
