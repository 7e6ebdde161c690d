"""The corpus as the searches need it: its pieces by split, and excerpts of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from etude.audio.files import AudioFile, read_audio
from etude.pool import Failed, tried
from etude.storage import read_csv

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Wave = NDArray[np.float32]

HELD_OUT = ("valid", "test")
CLOSEST = 0.25  # seconds between the begins of two excerpts of a piece, at least


@dataclass(frozen=True)
class Excerpt:
    """A part of a piece."""

    piece: str
    start_s: float
    seconds: float


class CorpusPieces:
    """Pieces with their split and WAV.

    Args:
        pieces: pieces.csv.
        wav: folders of piece WAVs, one per shard.

    Attribute `left`: the pieces that could not be searched, planted or read, and why.
    """

    def __init__(self, pieces: Path, wav: Iterable[Path]) -> None:
        split = {row["piece"]: row["split"] for row in read_csv(pieces) if row["status"] == "kept"}
        self.files: dict[str, Path] = {}
        self.seconds: dict[str, float] = {}
        for folder in wav:
            for row in read_csv(folder / "index.csv"):
                if row["status"] == "kept" and row["piece"] in split:
                    self.files[row["piece"]] = folder / f"{row['piece']}.wav"
                    self.seconds[row["piece"]] = float(row["seconds"])
        self.split = {piece: split[piece] for piece in sorted(self.files)}
        self.left: dict[str, str] = {}

    def names(self, *splits: str) -> list[str]:
        """The pieces of some splits, sorted."""
        return [piece for piece, split in self.split.items() if split in splits]

    def whole(self, piece: str, rate: int) -> Wave:
        """A piece: float32 [samples]."""
        return read_audio(self.files[piece], rate, upsample=True)

    def read(self, excerpt: Excerpt, rate: int) -> Wave:
        """An excerpt: float32 [samples], padded with silence where the piece ends."""
        with AudioFile(self.files[excerpt.piece]) as file:
            wave = file.read(rate, excerpt.start_s, excerpt.seconds, upsample=True)
        return np.pad(wave, (0, max(0, round(excerpt.seconds * rate) - len(wave))))

    def leave_out(self, piece: str, reason: str) -> None:
        """A piece costs itself alone, and it is said once."""
        if piece not in self.left:
            log.warning("%s is left out, or a part of it: %s", piece, reason)
        self.left.setdefault(piece, reason)

    def each(
        self, work: Callable[[Excerpt], Result], excerpts: Iterable[Excerpt]
    ) -> Iterator[tuple[Excerpt, Result]]:
        """What `work` makes of each excerpt; where a library cannot, the piece is left out."""
        for excerpt in excerpts:
            found = tried(work, excerpt)
            if isinstance(found, Failed):
                self.leave_out(excerpt.piece, found.reason)
            else:
                yield excerpt, found

    def excerpts(
        self, splits: Sequence[str], seconds: float, count: int, seed: int
    ) -> list[Excerpt]:
        """At most `count` excerpts, as many of one piece as of another as far as it goes.

        They may overlap, but none begins within a quarter of a second of another; begins are
        seeded. Pieces that are shorter than an excerpt have none.
        """
        random = np.random.default_rng(seed)
        names = [name for name in self.names(*splits) if self.seconds[name] >= seconds]
        each = -(-count // max(1, len(names)))
        found = []
        for name in names:
            room = self.seconds[name] - seconds
            most = min(each, 1 + int(room / CLOSEST))
            edges = np.linspace(0, room, most + 1)
            starts = random.uniform(edges[:-1], edges[1:])
            found += [Excerpt(name, round(float(start), 4), seconds) for start in starts]
        chosen = random.permutation(len(found))[:count]
        return [found[i] for i in np.sort(chosen)]
