"""The same samples: SHA-256 of PCM, segment against segment.

Conventions
    wave is float [samples], mono, full scale 1, at the rate of the corpus's cut; it is hashed as
    16-bit PCM, as WAVs have it. A clip is cut like the training music: a segment each `hop`.

Metrics
    * `matches`: for each clip the training segments with the very same samples. One sample of
      offset, or a hundredth of a decibel, and nothing is found: this is a check for duplicates and
      leakage, no verdict on memorisation.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.audio.levels import INT16_SCALE
from etude.storage import atomic, write_csv, write_json

VERSION = 1  # raised when hashes change

COLUMNS = ["probe_filename", "probe_hash", "is_match", "matched_dataset_files"]
NO_MATCH = "No match"  # we-sharp's word


def pcm_hash(wave: NDArray[np.floating]) -> str:
    """SHA-256 of the samples as 16-bit PCM.

    Example:
        >>> import numpy as np
        >>> pcm_hash(np.array([0.5])) == pcm_hash(np.array([0.5 + 1e-9]))  # the same 16 bits
        True
    """
    scaled = np.round(np.asarray(wave, np.float64) * INT16_SCALE)
    return hashlib.sha256(scaled.clip(-32768, 32767).astype("<i2").tobytes()).hexdigest()


def segment_hashes(
    wave: NDArray[np.floating], rate: int, seconds: float, hop: float
) -> Iterator[tuple[float, str]]:
    """(start in seconds, hash) of each segment; of all, where the wave is shorter than one.

    Example:
        >>> import numpy as np
        >>> [start for start, _ in segment_hashes(np.zeros(40), rate=10, seconds=2.0, hop=1.0)]
        [0.0, 1.0, 2.0]
    """
    length = round(seconds * rate)
    for number in range(max(1, 1 + int((len(wave) - length) / (hop * rate) + 1e-9))):
        start_s = round(number * hop, 6)
        begin = round(start_s * rate)
        yield start_s, pcm_hash(wave[begin : begin + length])


@dataclass(frozen=True)
class Probe:
    """A segment of a clip, and the training segments that equal it: (piece, start in seconds)."""

    clip: str
    start_s: float
    digest: str
    found: tuple[tuple[str, float], ...]


def matches(
    clips: Iterable[tuple[str, NDArray[np.floating]]],
    training: Mapping[str, list[tuple[str, float]]],
    rate: int,
    seconds: float,
    hop: float,
) -> list[Probe]:
    """Every segment of every (name, wave), matched or not.

    Example:
        >>> import numpy as np
        >>> wave = np.random.default_rng(0).normal(size=2000)
        >>> known = {digest: [("piece", at)] for at, digest in segment_hashes(wave, 1000, 1.0, 1.0)}
        >>> probes = matches([("copy", wave), ("new", -wave)], known, 1000, 1.0, 1.0)
        >>> [(probe.clip, len(probe.found)) for probe in probes]
        [('copy', 1), ('copy', 1), ('new', 0), ('new', 0)]
    """
    return [
        Probe(name, start_s, digest, tuple(training.get(digest, ())))
        for name, wave in clips
        for start_s, digest in segment_hashes(wave, rate, seconds, hop)
    ]


def crossing(hashes: Mapping[str, list[tuple[str, float]]], split: Mapping[str, str]) -> int:
    """Held-out segments whose samples are in the training split as well: leakage.

    Example:
        >>> hashes = {"hash": [("a", 0.0), ("b", 4.0)]}  # the same samples in both pieces
        >>> crossing(hashes, {"a": "train", "b": "test"})
        1
    """
    count = 0
    for places in hashes.values():
        held_out = [piece for piece, _ in places if split.get(piece) in ("valid", "test")]
        if len(held_out) < len(places) and any(split.get(p) == "train" for p, _ in places):
            count += len(held_out)
    return count


def write_seed_files(probes: list[Probe], folder: Path) -> None:
    """we-sharp's four files, with all probes in them: two tables, two figures."""
    rows = [
        {
            "probe_filename": f"{probe.clip}@{probe.start_s:g}s",
            "probe_hash": probe.digest,
            "is_match": str(bool(probe.found)),
            "matched_dataset_files": ", ".join(f"{piece}@{at:g}s" for piece, at in probe.found)
            or NO_MATCH,
        }
        for probe in probes
    ]
    write_csv(folder / "hash_comparison_detailed.csv", COLUMNS, rows)
    names = [row["probe_filename"] for row in rows]
    found = {n: [f"{p}@{at:g}s" for p, at in x.found] for n, x in zip(names, probes, strict=True)}
    write_json(folder / "probe_matches.json", found)
    _draw(probes, folder)


def _draw(probes: list[Probe], folder: Path) -> None:
    """How many probes have each number of matches; how often each piece is matched."""
    from matplotlib.figure import Figure

    matched = Counter(len(probe.found) for probe in probes)
    pieces = Counter(piece for probe in probes for piece, _ in probe.found).most_common(30)
    for name, counts, label in (
        ("match_distribution", sorted(matched.items()), "training segments equal to a probe"),
        ("match_frequency", pieces or [("no piece", 0)], "training piece"),
    ):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.bar([str(key) for key, _ in counts], [value for _, value in counts], color="#3b6ea5")
        axes.set(xlabel=label, ylabel="probes", title=f"{len(probes)} probes")
        axes.tick_params(axis="x", rotation=90 if name == "match_frequency" else 0)
        with atomic(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=120, metadata={"Software": None})
