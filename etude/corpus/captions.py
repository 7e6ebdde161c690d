"""Captions: each piece in words, and where the words come from.

Shared by all systems that learn from text. A piece without any caption keeps its row, with the
reason; systems learn from it without words.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from etude.config import Captions, CorpusBase
from etude.corpus.ingest import taken
from etude.corpus.piece_paths import piece_paths
from etude.corpus.rows import Row
from etude.errors import UserError, closest
from etude.midi.descriptors import words_of
from etude.midi.notes import MidiError, read_midi
from etude.pool import map_in_order
from etude.storage import read_csv, write_csv

VERSION = 2  # raised when captions change
COLUMNS = ["piece", "concept", "caption", "source", "reason"]
MANY_WORDS = 100  # T5 reads 128 tokens, which are about as many words as this
CHUNK = 32  # pieces that go to a worker at a time

log = logging.getLogger(__name__)


def caption_corpus(
    settings: CorpusBase, pieces: Path, root: Path, output: Path, threads: int
) -> None:
    """Write captions.csv: a row for each kept piece, in the order of pieces.csv.

    `concept` is the top folder that a piece lies in, whatever its caption was taken from.

    Args:
        pieces: pieces.csv, with the user's columns.
        root: the corpus's folder, for the notes of MIDI files.

    Raises:
        UserError: the column that config names is not in metadata.csv, and is the only source.
    """
    rows = [row for row in read_csv(pieces) if row["status"] == "kept"]
    _check_column(settings.captions, rows, pieces)
    paths = piece_paths(root, rows)
    work = partial(caption_piece, settings)
    jobs = [(row, paths[row["piece"]]) for row in rows]
    found = list(map_in_order(work, jobs, threads, title="caption", unit="piece", chunk=CHUNK))
    write_csv(output, COLUMNS, found)
    counts = Counter(row["source"] or "no caption" for row in found)
    log.info("%s", ", ".join(f"{n} by {source}" for source, n in counts.most_common()))
    if long := sum(len(row["caption"].split()) > MANY_WORDS for row in found):
        log.warning("%d captions have over %d words, of which few are read", long, MANY_WORDS)
    if without := counts["no caption"]:
        log.warning("%d of %d pieces have no caption; captions.csv says why", without, len(found))


def caption_piece(settings: CorpusBase, job: tuple[Row, Path]) -> Row:
    """The row of one piece: the first source that has a caption counts."""
    row, path = job
    asked = settings.captions
    makers: Mapping[str, Callable[[], str]] = {
        "column": lambda: row.get(asked.column, ""),
        "folder": lambda: readable(concept_of(row["path"])),
        "notes": lambda: _from_notes(settings, row, path),
        "file_name": lambda: from_file_name(row["path"]),
    }
    about = {"piece": row["piece"], "concept": concept_of(row["path"])}
    reasons = []
    for source in asked.from_:
        try:
            caption, reason = plain(makers[source]())
        except MidiError as error:
            reasons.append(f"{source}: {error}")
            continue
        if caption:
            return about | {"caption": caption, "source": source, "reason": reason}
        reasons.append(f"{source}: empty")
    return about | {"caption": "", "source": "", "reason": "; ".join(reasons)}


def plain(text: str) -> tuple[str, str]:
    """A caption as it is read, and what was changed: without < and >, in Unicode's form NFC.

    Example:
        >>> plain("a <loud>  drum")
        ('a loud drum', '< and > are left out: between them texts name learned words')
    """
    kept = " ".join(re.sub("[<>]", " ", unicodedata.normalize("NFC", text)).split())
    changed = "< and > are left out: between them texts name learned words"
    return kept, changed if set(text) & set("<>") else ""


def concept_of(relative: str) -> str:
    """The top folder of a file, in Unicode's form NFC; empty if it is in none."""
    parts = PurePosixPath(unicodedata.normalize("NFC", relative)).parts
    return parts[0] if len(parts) > 1 else ""


def from_file_name(relative: str) -> str:
    """What a file's name says: below its top folder, without the suffix and an `[id]`.

    `drums/acid/heavy bass v1.2 [0481].wav` is `acid heavy bass v1.2`.
    """
    path = PurePosixPath(relative)
    inner = path.relative_to(path.parts[0]) if len(path.parts) > 1 else path
    return readable(inner.with_suffix("").as_posix().partition("[")[0])


def readable(name: str) -> str:
    """A name as words: underscores and slashes are spaces."""
    return " ".join(re.sub(r"[_/]+", " ", name).split())


def _from_notes(settings: CorpusBase, row: Row, path: Path) -> str:
    """Words for the notes: see `etude.midi.descriptors`; empty for recordings."""
    if row["kind"] != "midi":
        return ""
    try:
        table = taken(settings.rules, read_midi(path))
    except OSError as error:
        raise MidiError(f"unreadable: {error.strerror}") from None
    return ", ".join(words_of(table, settings.captions.words))


def _check_column(settings: Captions, rows: list[Row], where: Path) -> None:
    if settings.from_ != ["column"] or not rows or settings.column in rows[0]:
        return
    raise UserError(
        f"there is no column {settings.column!r}{closest(settings.column, rows[0])}",
        code="missing-column",
        where=str(where),
        why="captions are taken from that column of metadata.csv alone (captions.from)",
        do="add it to metadata.csv, name another column, or name more sources in captions.from",
    )
