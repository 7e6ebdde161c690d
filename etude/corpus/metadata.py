"""The sidecar metadata.csv: what the user knows about the pieces, carried into every table."""

from __future__ import annotations

import csv
import io
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from etude.corpus.scan import METADATA, music_kind, piece_id, printable
from etude.errors import UserError

# The first of these columns names the piece; the last is MAESTRO's.
KEYS = ("path", "file", "piece", "stem", "midi_filename")
REJECT = "reject"  # a column of reasons: a piece that has one is not taken

log = logging.getLogger(__name__)


@dataclass
class Metadata:
    """Columns of the user's own, and their values by relative path."""

    columns: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def of(self, relative: str) -> dict[str, str]:
        """The values of a file; empty where the user said nothing."""
        return self.rows.get(relative, {})


def read_metadata(
    root: Path, files: Iterable[str], reserved: Iterable[str], name: str = METADATA
) -> Metadata:
    """Read `root`/metadata.csv, or another table of the same form, and match its rows with files.

    A row names its piece by `path` (relative), `file` (name), `piece` or `stem`, with or without
    suffix and in this order of preference. Rows without a file, or with several that are not
    one piece, are warnings. A column whose name is taken is carried as `metadata_<name>`.

    Raises:
        UserError: the file cannot be read, has none of these columns, or is named and not there.
    """
    path = root / name
    if not path.is_file():
        if name != METADATA:
            raise UserError(
                f"there is no {name} in the corpus",
                where=str(root),
                why="the corpus's `metadata` names it",
                do="check the name; without `metadata`, metadata.csv is read where there is one",
            )
        return Metadata()
    table, warnings = _read(path)
    header = next((key for key in KEYS if key in table[0]), None) if table else None
    if header is None:
        raise UserError(
            f"{path.name} does not say which pieces it is about",
            where=str(path),
            why=f"its columns are: {', '.join(table[0]) if table else 'none'}",
            do=f"add a column {' or '.join(KEYS)} with the path or name of each file",
        )
    taken = set(reserved)
    names = {
        name: f"metadata_{name}" if name in taken else name for name in table[0] if name != header
    }
    rows: dict[str, dict[str, str]] = {}
    for line in table[1:]:
        record = dict(zip(table[0], line, strict=False))
        key = _normal(record.pop(header, ""))
        if key in rows:
            warnings.append(f"{path.name} names {key!r} more than once; the first row counts")
        elif key:
            rows[key] = {names[name]: value for name, value in record.items()}
    matched, unmatched = _match(rows, files)
    if unmatched:
        few = ", ".join(unmatched[:5]) + (" …" if len(unmatched) > 5 else "")
        warnings.append(f"{len(unmatched)} rows of {path.name} have no single file: {few}")
    return Metadata(list(names.values()), matched, warnings)


def _read(path: Path) -> tuple[list[list[str]], list[str]]:
    """Rows with the header first, and what was odd. Any of the separators of spreadsheets."""
    warnings = []
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        warnings.append(f"{path.name} is not UTF-8; read as Windows-1252")
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            do="fix its permissions",
        ) from None
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    csv.field_size_limit(2**31 - 1)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise UserError(
            f"{path.name} is no table", where=str(path), why=str(error), do="save it as CSV again"
        ) from None
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if rows:
        rows[0] = [_column(name, i, rows[0]) for i, name in enumerate(rows[0])]
        long = sum(len(row) > len(rows[0]) for row in rows)
        if long:
            warnings.append(f"{long} rows of {path.name} are longer than its header")
    return rows, warnings


def _column(name: str, index: int, header: list[str]) -> str:
    """Every column has a name, and no two have the same."""
    lower = name.lower()
    name = lower if lower in (*KEYS, "split", "tune", REJECT) else name or f"column_{index + 1}"
    return name if name not in header[:index] else f"{name}_{index + 1}"


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))


def _names(relative: str) -> list[str]:
    """What a file may be called in metadata.csv, from the surest to the loosest."""
    path = PurePosixPath(relative)
    names = (relative, path.with_suffix("").as_posix(), path.name, path.stem, piece_id(relative))
    return [_normal(printable(name)) for name in names]


def _match(
    rows: dict[str, dict[str, str]], files: Iterable[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Values by file, and the keys that meet no file, or files that are not one piece."""
    found: dict[str, list[tuple[int, str]]] = {key: [] for key in rows}
    for relative in filter(music_kind, files):
        for level, name in enumerate(_names(relative)):
            if name in found:
                found[name].append((level, relative))
    best: dict[str, tuple[int, str]] = {}
    unmatched = []
    for key, hits in found.items():
        top = min((level for level, _ in hits), default=0)
        chosen = [relative for level, relative in hits if level == top]
        # `song.mid` and `song.wav` in one folder are one piece; `a/song` and `b/song` are not.
        if len({PurePosixPath(relative).with_suffix("") for relative in chosen}) != 1:
            unmatched.append(key)
            continue
        for relative in chosen:
            best[relative] = min(best.get(relative, (top, key)), (top, key))
    used = Counter(key for _, key in best.values())
    unmatched += [key for key in rows if key not in used and key not in unmatched]
    return {relative: rows[key] for relative, (_, key) in best.items()}, unmatched
