"""Every input file becomes one row: what it is, what it holds, and whether it is taken.

A bad file is a row with a reason, never an exception. By default only what is corrupt, empty or
too long is rejected.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from etude.audio.files import AudioError, AudioFile
from etude.audio.recordings import summarise
from etude.config import CorpusBase, Filter
from etude.corpus.metadata import REJECT, Metadata, read_metadata
from etude.corpus.ownership import check_consent
from etude.corpus.rows import INGEST_COLUMNS, OURS, Row, counts_text, reason_class
from etude.corpus.scan import (
    REFUSED,
    corpus_files,
    describe_passed,
    music_kind,
    piece_id,
    printable,
    shard_of,
)
from etude.corpus.withdrawn import forms, left_out, read_withdrawn
from etude.midi.notes import (
    DRUMS,
    MidiError,
    NoteTable,
    notes_hash,
    parse_midi,
    read_bytes,
    tune_ngrams,
)
from etude.pool import map_in_order
from etude.storage import hash_file, read_csv, write_csv

VERSION = 5  # raised when rows change, by what is here, in scan or in metadata
INAUDIBLE = 1e-8  # of full scale: below the resolution of 24 bits and of any converter
CHUNK = 16  # files that go to a worker at a time

log = logging.getLogger(__name__)


class Rejected(Exception):  # noqa: N818 (a decision of the filter, not a fault)
    """A piece that the filter refuses; the message is the reason that its row says."""


def ingest_shard(
    settings: CorpusBase,
    root: Path,
    shard: int,
    output: Path,
    threads: int,
    tables: CorpusBase | None = None,
) -> None:
    """Write one row for each input file of a shard, sorted by path.

    The choice of `limit` is made over the whole corpus, so that all shards agree on it.

    Args:
        tables: names those of owners and of withdrawn files, which `settings` from a rule lack.

    Raises:
        UserError: the folder or its metadata.csv cannot be read; files have no consent.
    """
    passed: Counter[str] = Counter()
    tables = settings if tables is None else tables
    out, withdrawn = left_out(tables, root), forms(read_withdrawn(tables))
    every = corpus_files(root, settings.limit, settings.metadata, passed, out)
    if tables.ownership is not None:
        check_consent(tables.ownership, every)
    if refused := read_refused(root):
        passed["hidden files"] -= 1  # that table
        every += sorted(refused.keys() - set(every))
    mine = (relative for relative in every if shard_of(relative, settings.shards) == shard)
    files = sorted(mine, key=printable)
    metadata = read_metadata(root, every, OURS, settings.metadata, withdrawn)
    if shard == 0:  # every shard sees the same
        if note := describe_passed(passed):
            log.warning("passed over: %s", note)
        for warning in metadata.warnings:
            log.warning("%s", warning)
    rows = read_rows(settings.rules, root, files, metadata, threads, refused)
    counts: Counter[str] = Counter()
    write_csv(output, [*INGEST_COLUMNS, *metadata.columns], _counted(rows, counts))
    log.info("%d of %d files in this shard: %s", len(files), len(every), counts_text(counts))


def read_refused(root: Path) -> dict[str, str]:
    """What a user's source could not provide, and why; usually nothing."""
    path = root / REFUSED
    return {row["path"]: row["reason"] for row in read_csv(path)} if path.is_file() else {}


def read_rows(
    rules: Filter,
    root: Path,
    files: Sequence[str],
    metadata: Metadata,
    threads: int,
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Row]:
    """The rows of files, in their order; the table about the pieces can reject some.

    Args:
        refused: reasons of files that are not looked at, and need not be there.
    """
    read = partial(read_piece, rules, root)
    limit_s = rules.computing_limit_s
    there = [relative for relative in files if relative not in refused]
    rows = map_in_order(
        read, there, threads, title="ingest", chunk=CHUNK, fallen=_fallen, limit_s=limit_s
    )
    for relative in files:
        why = refused.get(relative)
        row = next(rows) if why is None else _fallen(relative, why)
        known = metadata.of(relative)
        if known.get(REJECT):
            row |= {"status": "rejected", "reason": known[REJECT]}
        yield row | known
    assert next(rows, None) is None, "a row for each file, and the workers have ended"


def read_piece(rules: Filter, root: Path, relative: str) -> Row:
    """The row of one file, without the user's metadata."""
    row = _row(relative)
    read = {"midi": _read_midi, "audio": _read_audio, "": _refuse}[row["kind"]]
    try:
        read(rules, root / relative, row)
    except (Rejected, MidiError) as error:
        row |= {"status": "rejected", "reason": str(error)}
    except AudioError as error:
        row |= {"status": "rejected", "reason": error.reason}
    except OSError as error:
        row |= {"status": "rejected", "reason": f"unreadable: {error.strerror}"}
    return row


def _row(relative: str) -> Row:
    return dict.fromkeys(INGEST_COLUMNS, "") | {
        "piece": piece_id(relative),
        "path": printable(relative),
        "kind": music_kind(relative),
        "status": "kept",
    }


def _fallen(relative: str, reason: str) -> Row:
    """The row of a file that brought its reader down."""
    return _row(relative) | {"status": "rejected", "reason": reason}


def _refuse(_: Filter, path: Path, row: Row) -> None:
    raise Rejected(f"unsupported_type: {printable(path.suffix) or 'none'}")


def _read_midi(rules: Filter, path: Path, row: Row) -> None:
    data = read_bytes(path)
    row["sha256"] = hashlib.sha256(data).hexdigest()
    whole = parse_midi(data)
    row["programs"] = " ".join(
        "drums" if program == DRUMS else str(program) for program in whole.programs()
    )
    table = taken(rules, whole)
    row["notes_hash"] = notes_hash(table)
    row["seconds"] = f"{table.seconds:.3f}"
    row["notes"] = str(len(table))
    check_piece(rules, whole, table)
    row["ngrams"] = tune_ngrams(table).astype(">u4").tobytes().hex(" ", 4)


def _read_audio(rules: Filter, path: Path, row: Row) -> None:
    with path.open("rb") as file:
        if not file.read(1):
            raise Rejected("empty_file")
    with AudioFile(path) as audio:
        row["seconds"] = f"{audio.seconds:.3f}"
        _check_length(rules, audio.seconds)  # before hours of it are decoded
    row["sha256"] = hash_file(path)
    summary = summarise(path)
    if summary.peak == 0:
        raise Rejected("silent")
    if summary.constant:
        raise Rejected("silent: every sample is the same")
    if summary.peak < INAUDIBLE:
        raise Rejected(f"silent: no sample is beyond {summary.peak:.3g}")
    row["notes_hash"] = summary.samples_hash


def taken(rules: Filter, table: NoteTable) -> NoteTable:
    """The notes that will be heard: without drums that are dropped, with programs mapped."""
    if rules.drums == "drop":
        table = table.without_drums()
    return table if rules.map_programs_to is None else table.played_with(rules.map_programs_to)


def check_piece(rules: Filter, whole: NoteTable, table: NoteTable) -> None:
    """The filter for MIDI: all notes of a file, and those that are `taken` of them.

    Raises:
        Rejected: `no_notes`, `only_drums`, `too_long`, `has_drums`, `program_not_allowed` or
            `velocity_too_low`.
    """
    if not len(whole):
        raise Rejected("no_notes")
    if not len(table):
        raise Rejected("only_drums")
    _check_length(rules, table.seconds)
    programs = whole.programs()
    if DRUMS in programs and rules.drums == "reject":
        raise Rejected("has_drums")
    if rules.programs is not None and (others := {*programs} - {DRUMS, *rules.programs}):
        raise Rejected(f"program_not_allowed: {' '.join(map(str, sorted(others)))}")
    if (lowest := int(table.velocity.min())) < rules.min_velocity:
        raise Rejected(f"velocity_too_low: {lowest}")


def _check_length(rules: Filter, seconds: float) -> None:
    if seconds > 60 * rules.max_minutes:
        raise Rejected(f"too_long: {seconds / 60:.1f} min")


def _counted(rows: Iterable[Row], counts: Counter[str]) -> Iterator[Row]:
    for row in rows:
        counts[reason_class(row)] += 1
        yield row
