"""A corpus with its annotations applied: beats as bar lines, keys as key signatures.

The result is a folder of MIDI like any other, so that all its readers (the tables, the audio, the
tokens, the search for copies) see the same notes. Its table about the pieces is the user's with
four more columns: beats (`yes`, or empty), key (the one that lasts longest), merged (notes that the
grid has joined with another of their voice) and reject (why a piece is left out).
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import symusic

from etude.config import Annotations
from etude.corpus.metadata import REJECT, read_metadata
from etude.corpus.rows import OURS
from etude.corpus.scan import list_files, music_kind, printable
from etude.midi.beats import Clock, KeySign, clock_of, on_beats, read_beats, read_keys
from etude.midi.notes import MidiError, parse_midi, read_bytes, strip_wrapper
from etude.midi.writing import apart, to_score
from etude.pool import map_in_order
from etude.storage import write_csv

VERSION = 1  # raised when the same annotations give other files
COLUMNS = ("beats", "key", "merged", REJECT)
MOST_BYTES = 2**20  # of a file of beats or keys
CHUNK = 16

log = logging.getLogger(__name__)


def annotate(
    settings: Annotations, metadata: str, source: Path, folder: Path, threads: int
) -> None:
    """Write a corpus with its annotations.

    Args:
        metadata: the name of the table about the pieces.
        source: where the corpus lies.
        folder: where it is written; empty.
        threads: worker processes.

    Raises:
        UserError: the folder or its table cannot be read.
    """
    every = [relative for relative in list_files(source) if relative != metadata]
    files = _taken(settings, every)
    known = read_metadata(source, files, {*OURS, *COLUMNS} - {REJECT}, metadata)
    for warning in known.warnings:
        log.warning("%s", warning)
    work = partial(annotate_file, settings, source, folder)
    found = map_in_order(work, files, threads, title="annotate", chunk=CHUNK, failed=_failed)
    rows = []
    for relative, row in zip(files, found, strict=True):
        if music_kind(relative):
            rows.append({"path": printable(relative)} | known.of(relative) | _without_empty(row))
    columns = [*known.columns, *(name for name in COLUMNS if name not in known.columns)]
    write_csv(folder / metadata, ["path", *columns], rows)
    counts = Counter(row.get(REJECT, "").partition(":")[0] or "annotated" for row in rows)
    log.info("%d of %d files taken over: %s", len(files), len(every), dict(counts))
    if settings.keys:
        log.info("%d of %d pieces have a key", sum(bool(row.get("key")) for row in rows), len(rows))
    if merged := sum(int(row.get("merged") or 0) for row in rows):
        log.info("%d notes became one with another on the grid", merged)


def _taken(settings: Annotations, files: Sequence[str]) -> list[str]:
    """The files without those that are left out, and without the annotations themselves."""
    patterns = [name for name in (settings.beats, settings.keys) if name]
    beside = {
        str(PurePosixPath(_beside(relative, pattern)))
        for relative in files
        if music_kind(relative) == "midi"
        for pattern in patterns
    }
    return [
        relative
        for relative in files
        if relative not in beside
        and not any(fnmatchcase(relative, pattern) for pattern in settings.leave_out)
    ]


def _beside(relative: str, pattern: str) -> str:
    path = PurePosixPath(relative)
    return (path.parent / pattern.replace("{stem}", path.stem)).as_posix()


def annotate_file(settings: Annotations, source: Path, folder: Path, relative: str) -> Any:
    """Write one file, a MIDI with what its annotations say; its columns of the table."""
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    row: dict[str, str] = dict.fromkeys(COLUMNS, "")
    if music_kind(relative) == "midi":
        try:
            data = _annotated(settings, source, relative, row)
        except MidiError as error:
            row[REJECT] = str(error)
        else:
            target.write_bytes(data)
            return row
    try:
        shutil.copyfile(source / relative, target)
    except OSError as error:
        target.write_bytes(b"")
        row[REJECT] = f"unreadable: {error.strerror}"
    return row


def _annotated(settings: Annotations, source: Path, relative: str, row: dict[str, str]) -> bytes:
    """The bytes of a MIDI file with its annotations.

    Raises:
        MidiError: it cannot be read, or its beats are missing or make no sense.
    """
    try:
        data = read_bytes(source / relative)
    except OSError as error:
        raise MidiError(f"unreadable: {error.strerror}") from None
    table = parse_midi(data)
    clock = clock_of(table)
    score: Any = None
    if settings.beats:
        beats = read_beats(_text(source, relative, settings.beats, "beats"))
        table, clock = on_beats(table, beats, settings.positions)
        kept = apart(table)
        row |= {"beats": "yes", "merged": str(len(table) - len(kept))}
        score = to_score(kept)
    if settings.keys:
        try:
            keys = read_keys(_text(source, relative, settings.keys, "keys"))
        except MidiError as error:  # no reason to drop a piece: keys can be found from notes
            log.warning("%s: %s", printable(relative), error)
        else:
            score = score or symusic.Score.from_midi(strip_wrapper(data))
            row["key"] = _longest(keys)
            score.key_signatures = _signatures(keys, clock)
    return data if score is None else bytes(score.dumps_midi())


def _signatures(keys: Sequence[KeySign], clock: Clock) -> Any:
    ticks = clock.ticks_at(np.array([key.begin for key in keys])).round().clip(0)
    signs: Any = [
        symusic.KeySignature(int(tick), key.fifths, int(key.minor), ttype="tick")
        for tick, key in zip(ticks, keys, strict=True)
    ]
    return symusic.core.KeySignatureTickList(signs)


def _longest(keys: Sequence[KeySign]) -> str:
    lasting: dict[str, float] = {}
    for key in keys:
        lasting[key.name] = lasting.get(key.name, 0.0) + key.end - key.begin
    return max(lasting, key=lambda name: lasting[name])


def _text(source: Path, relative: str, pattern: str, what: str) -> str:
    """What is in a file beside a MIDI.

    Raises:
        MidiError: `no_beats` or `no_keys`: it is missing; `garbled_…`: it is not text.
    """
    path = source / _beside(relative, pattern)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise MidiError(f"no_{what}: {printable(path.name)}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise MidiError(f"garbled_{what}: {printable(path.name)} has over {MOST_BYTES >> 20} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MidiError(f"garbled_{what}: {printable(path.name)} is no text") from None


def _failed(_: str, reason: str) -> dict[str, str]:
    return {REJECT: reason}


def _without_empty(row: dict[str, str]) -> dict[str, str]:
    """The table's own values stay where we have none."""
    return {name: value for name, value in row.items() if value}
