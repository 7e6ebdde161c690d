"""From a clip set to what is measured of each clip: one JSON for all sets of a folder.

Nothing here compares; so baselines are measured once, however many models are compared with them.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etude.metrics.clip_sets import clip_sets
from etude.metrics.notes import harmony
from etude.metrics.notes.beats import read_beats
from etude.metrics.notes.clips import SymbolicClip, read_symbolic
from etude.metrics.notes.counterpoint import changes, counterpoint
from etude.metrics.notes.counts import NEUROMUSIC, durations, pitch_classes
from etude.metrics.notes.features import features, vectors
from etude.metrics.notes.recurrence import recurrence
from etude.metrics.notes.structure import structureness
from etude.metrics.notes.whole_bars import MOST
from etude.midi.notes import NoteTable
from etude.pool import map_in_order
from etude.storage import write_json

VERSION = 4  # raised when the figures change

log = logging.getLogger(__name__)


def measure_clip(
    clip: SymbolicClip, *, compat: str = "", with_harmony: bool = True, form_bars: int = MOST
) -> dict[str, Any]:
    """All that is measured of one clip, ready for JSON; what it cannot have is null."""
    beats = read_beats(clip.sounding, clip.start_s, clip.seconds)
    scalars = counterpoint(clip.sounding, beats) | features(clip.music, clip.seconds)
    scalars |= structureness(clip.music, clip.start_s, clip.seconds)
    scalars |= recurrence(clip.entire, clip.from_s, form_bars)
    parts = {"music": clip.music, "head": clip.head, "tail": clip.tail}
    if compat == NEUROMUSIC:
        parts["whole"] = clip.whole
    return {
        "clip": clip.clip,
        "piece": clip.piece,
        "features": {k: _finite(v) for k, v in scalars.items()},
        "changes": changes(beats).tolist(),
        "vectors": {k: _rounded(v) for k, v in vectors(clip.music).items()},
        "pitch_classes": {k: pitch_classes(v, compat).tolist() for k, v in parts.items()},
        "durations": {k: durations(v, compat).tolist() for k, v in parts.items()},
        "words": {k: _words(v) for k, v in parts.items()} if with_harmony else None,
    }


def _words(table: NoteTable) -> list[str]:
    return harmony.words(table)


def _finite(value: float) -> float | None:
    return round(float(value), 9) if math.isfinite(value) else None


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 9) for v in values]


def measure_folder(
    folder: Path,
    output: Path,
    *,
    compat: str,
    most: int,
    harmony_clips: int,
    form_bars: int,
    threads: int,
    pieces: Mapping[str, Path] | None = None,
    prompted: bool = False,
) -> None:
    """Measure the generated clips, or every baseline, of a folder.

    Args:
        most: clips of a set that are measured at most, the first ones.
        harmony_clips: of those, how many have their harmony reduced (the slow part).
        form_bars: bars that form is measured over, at most.
        pieces: the corpus's files, for clips that are stretches of them.
        prompted: whether the experiment continues prompts.
    """
    found: dict[str, Any] = {}
    for name, path in clip_sets(folder).items():
        read = read_symbolic(path, pieces=pieces, prompted=prompted, most=most)
        jobs = [(clip, i < harmony_clips) for i, clip in enumerate(read.clips)]
        work = functools.partial(_measure, compat, form_bars)
        rows = list(
            map_in_order(
                work, jobs, threads, title=f"notes of {name}", unit="clip", chunk=8, failed=_failed
            )
        )
        read.dropped["failed"] = rows.count(None)
        kept = [row for row in rows if row is not None]
        found[name] = {"clips": kept, "dropped": read.dropped, "note": read.note}
    write_json(output, found)


def _failed(job: tuple[SymbolicClip, bool], reason: str) -> None:
    log.warning("%s is left out: %s", job[0].clip, reason)


def _measure(compat: str, form_bars: int, job: tuple[SymbolicClip, bool]) -> dict[str, Any]:
    return measure_clip(job[0], compat=compat, with_harmony=job[1], form_bars=form_bars)
