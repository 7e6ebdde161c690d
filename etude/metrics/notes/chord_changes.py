"""The changes of chord that the training split has, for `known_changes` of counterpoint.py.

A change is a number (`counterpoint.changes`) that is the same in every transposition. The larger a
corpus is, the more of all possible changes it has, and the less is said by a clip's having them;
compare clips and held-out music by one corpus only.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes.beats import read_beats
from etude.metrics.notes.counterpoint import changes
from etude.midi.notes import MidiError, read_midi
from etude.pool import map_in_order
from etude.storage import read_csv, write_csv

VERSION = 1  # raised when the changes are others

log = logging.getLogger(__name__)
COLUMNS = ["change", "pieces"]
Integers = NDArray[np.int64]


def changes_of(seconds: float, path: str) -> list[int] | None:
    """The changes of a file's first `seconds`, each once; None where it cannot be read."""
    try:
        table = read_midi(path)
    except MidiError:
        return None
    return np.unique(changes(read_beats(table, 0.0, seconds))).tolist()


def count_changes(
    files: list[Path], output: Path, *, settings: dict[str, float], threads: int
) -> None:
    """Write which changes some MIDI files have, and in how many of them each is.

    Args:
        settings: pieces (the first files that are read, at most) and seconds of each.
    """
    work = functools.partial(changes_of, settings["seconds"])
    chosen = [str(path) for path in files[: int(settings["pieces"])]]
    failed = functools.partial(log.warning, "%s is left out: %s")
    found = list(map_in_order(work, chosen, threads, title="chords", chunk=32, failed=failed))
    every = np.array([change for some in found for change in some or ()], dtype=np.int64)
    numbers, counts = np.unique(every, return_counts=True)
    rows = zip(numbers.tolist(), counts.tolist(), strict=True)
    log.info("%d changes of chord in %d pieces", len(numbers), len(chosen))
    write_csv(output, COLUMNS, (dict(zip(COLUMNS, row, strict=True)) for row in rows))


def read_changes(path: Path) -> Integers:
    """The changes of such a file, sorted: int64 [n]."""
    return np.array([int(row["change"]) for row in read_csv(path)], dtype=np.int64)
