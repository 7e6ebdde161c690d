"""The one door through which real and generated clips meet a metric.

A clip set is a folder with clips.csv. What a metric hears of a clip: mono, the cut's rate, no
prime (a real recording must not count as generated; `prime_seconds`), of what follows no more than
`heard_seconds` where the table has them, no fade, the level as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.audio.files import read_audio
from etude.storage import read_csv

VERSION = 2  # raised when metrics hear something else

Array = NDArray[np.float64]


def read_clips(folder: Path, rate: int) -> Iterator[tuple[dict[str, str], Array]]:
    """(row of clips.csv, wave float32 [samples]) of each clip of a set, prime left out."""
    for row in read_csv(folder / "clips.csv"):
        yield row, hear(folder, row, rate)


def hear(folder: Path, row: Mapping[str, str], rate: int) -> np.ndarray:
    """One clip as metrics hear it, by its row of clips.csv: float32 [samples].

    Raises:
        AudioError: it cannot be read.
    """
    wave = read_audio(folder / row["file"], rate, upsample=True)
    skip = round(float(row.get("prime_seconds") or 0) * rate)
    heard = row.get("heard_seconds")
    end = skip + round(float(heard) * rate) if heard else None
    return wave[skip:end]


def count_clips(folder: Path) -> int:
    """How many clips a set has."""
    return sum(1 for _ in read_csv(folder / "clips.csv"))


def clip_sets(folder: Path) -> dict[str, Path]:
    """The sets in a folder: the generated clips, or every baseline by name."""
    if (folder / "clips.csv").is_file():
        return {"generated": folder}
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/clips.csv"))}
