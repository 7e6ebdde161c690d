"""The one way in which real and generated clips reach a metric.

A clip set is a folder with clips.csv. What a metric hears of a clip: mono, the cut's rate, no
prime (a real recording must not count as generated; `prime_seconds`), of what follows no more than
`heard_seconds` where the table has them, no fade, the level as it is.

Where it hears. Music that is rendered from silence begins with a first note, on a bar line; a clip
of real music begins anywhere in a piece. `time` hears that difference and nothing else (a set of
real music rendered from silence is twice as far). So a clip that is longer than what is heard of
it is heard at a random place, at least 1 s after its beginning and 1 s before its end, where it is
long enough; the place depends on the clip's name, seed and draw, and is the same for every metric.
Real clips are cut like that when they are made (`etude.generation.baselines`). A clip of which all
is heard, as with systems that learn from segments, begins where its maker lets it begin.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.audio.files import read_audio
from etude.storage import read_csv

VERSION = 3  # raised when metrics hear something else

Array = NDArray[np.float64]

LEAD_SECONDS = 1.0  # of a beginning that is not heard
TAIL_SECONDS = 1.0  # of an end: the synthesiser's release


def stretch(row: Mapping[str, str]) -> tuple[float, float | None]:
    """What is heard of a clip, by its row of clips.csv: from where, how long (None: to its end).

    Example:
        >>> stretch({"prime_seconds": "2"})  # from where its prime ends, to its own end
        (2.0, None)
        >>> row = {"clip": "clip-0000", "seconds": "10", "heard_seconds": "2"}
        >>> stretch(row)  # somewhere at random, and always there
        (1.058, 2.0)
    """
    start = float(row.get("prime_seconds") or 0)
    if not row.get("heard_seconds"):
        return start, None
    audible_seconds = float(row["heard_seconds"])
    room = float(row.get("seconds") or 0) - TAIL_SECONDS - audible_seconds - start
    if room > LEAD_SECONDS:
        name = " ".join(row.get(key) or "" for key in ("clip", "seed", "draw"))
        place = np.random.default_rng(zlib.crc32(name.encode())).random()
        start += LEAD_SECONDS + float(place) * (room - LEAD_SECONDS)
    return round(start, 3), audible_seconds


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
    start, audible_seconds = stretch(row)
    skip = round(start * rate)
    return wave[skip : None if audible_seconds is None else skip + round(audible_seconds * rate)]


def count_clips(folder: Path) -> int:
    """How many clips a set has."""
    return sum(1 for _ in read_csv(folder / "clips.csv"))


def clip_sets(folder: Path) -> dict[str, Path]:
    """The sets in a folder: the generated clips, or every baseline by name."""
    if (folder / "clips.csv").is_file():
        return {"generated": folder}
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/clips.csv"))}
