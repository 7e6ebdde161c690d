"""What is known of single clips: how far each is from real music, and what it may be a copy of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from etude.metrics.signals import SILENT_DB
from etude.report.figures import Row, rows_of
from etude.results.leaderboard import number
from etude.results.rates import DECIDING, NO_NULL

UNLIKE, LEAST = 3.5, 0.05  # robust deviations and share by which et_grid is unlike the others'


@dataclass(frozen=True)
class Nearest:
    """The training music that is nearest to a clip, and by which search."""

    piece: str
    start_s: float | None
    file: str  # relative to the folder of results
    rung: str
    flagged: bool


@dataclass(frozen=True)
class Facts:
    """All that is known of one clip."""

    signals: Row = field(default_factory=dict)
    fad: float | None = None
    far: bool = False  # unlike its set by per-clip FAD
    odd: bool = False  # unlike its set in harmony
    rungs: tuple[str, ...] = ()  # by which it is a copy
    nearest: Nearest | None = None

    @property
    def silent(self) -> bool:
        """Whether nothing can be heard."""
        level = number(self.signals.get("level_db"))
        return level is not None and level < SILENT_DB


@dataclass(frozen=True)
class Evidence:
    """What is known of the clips of one set."""

    clips: Mapping[str, Facts]
    embedding: str = ""  # of the per-clip distances; empty without any
    searched: bool = False  # whether copies were looked for
    decided: bool = False  # by a search that could have found some: it had its null

    def of(self, clip: str) -> Facts:
        """The facts of a clip; nothing where nothing is known."""
        return self.clips.get(clip, Facts())


def read_evidence(folder: Path, kind: str = "generated") -> Evidence:
    """Read metrics/{experiment}/{clips}/: signals.csv, per_clip.csv, memorisation_clips.csv.

    Args:
        kind: the set's name in signals.csv.
    """
    signals = {
        row.get("clip", ""): row
        for row in rows_of(folder / "signals.csv")
        if row.get("clips", "") == kind
    }
    embedding, distances = _distances(folder / "per_clip.csv", kind)
    copies = _copies(folder / "memorisation_clips.csv", kind)
    harmony = {clip: number(row.get("et_grid")) for clip, row in signals.items()}
    odd, far = unlike(harmony, LEAST), unlike(distances, above=True)
    clips = {
        clip: Facts(
            signals.get(clip, {}),
            distances.get(clip),
            clip in far,
            clip in odd,
            tuple(row.get("rung", "") for row in copies.get(clip, ()) if _flagged(row)),
            _nearest(copies.get(clip, [])),
        )
        for clip in [*signals, *distances, *copies]
    }
    searched = (folder / "memorisation_clips.csv").is_file()
    return Evidence(clips, embedding, searched, any(map(_decides, chain(*copies.values()))))


def _of_kind(row: Row, kind: str) -> bool:
    return row.get("clips", kind) in (kind, "")


def _distances(path: Path, kind: str) -> tuple[str, dict[str, float]]:
    """Per-clip FAD by the first embedding that has any."""
    embedding, found = "", {}
    for row in rows_of(path):
        value = number(row.get("fad") or row.get("value"))
        if value is None or not _of_kind(row, kind):
            continue
        embedding = embedding or row.get("embedding", "")
        if row.get("embedding", "") == embedding:
            found[row.get("clip", "")] = value
    return embedding, found


def _copies(path: Path, kind: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows_of(path):
        if _of_kind(row, kind):
            found.setdefault(row.get("clip", ""), []).append(row)
    return found


def _flagged(row: Row) -> bool:
    return row.get("flagged", "").strip().lower() in ("true", "1", "yes")


def _decides(row: Row) -> bool:
    """Whether a row is of a search that finds more than equal samples, and had its null."""
    rung = row.get("rung", "")
    named = rung in DECIDING and rung != NO_NULL
    return named and row.get("flagged", "").strip().lower() in ("true", "false")


def _nearest(rows: list[Row]) -> Nearest | None:
    """The neighbour that is shown: of a search that calls it a copy if there is one."""
    known = [row for row in rows if row.get("nearest_file") or row.get("nearest_piece")]
    if not known:
        return None
    # Neighbours with sound come before those that are only named.
    row = max(known, key=lambda row: (_flagged(row), bool(row.get("nearest_file"))))
    return Nearest(
        row.get("nearest_piece", ""),
        number(row.get("nearest_start_s")),
        row.get("nearest_file", ""),
        row.get("rung", ""),
        _flagged(row),
    )


def unlike(values: Mapping[str, float | None], least: float = 0.0, above: bool = False) -> set[str]:
    """Names whose value lies far from the median, by the median absolute deviation.

    Args:
        least: a deviation below it is none.
        above: only larger values count.
    """
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < 8:
        return set()
    middle = statistics.median(known.values())
    spread = 1.4826 * statistics.median(abs(value - middle) for value in known.values())
    bound = max(UNLIKE * spread, least)
    return {
        name
        for name, value in known.items()
        if value - middle > bound or (not above and middle - value > bound)
    }
