"""The sidecar metadata.csv: what the user knows about the pieces, carried into every table."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from etude.corpus.scan import METADATA
from etude.corpus.tables import match_names, normal, read_table
from etude.errors import UserError

# The first of these columns names the piece; the last is MAESTRO's.
KEYS = ("path", "file", "piece", "stem", "midi_filename")
REJECT = "reject"  # a column of reasons: a piece that has one is left out

log = logging.getLogger(__name__)


@dataclass
class Metadata:
    """The user's columns, and their values by relative path."""

    columns: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def of(self, relative: str) -> dict[str, str]:
        """The values of a file; empty where the user gave none."""
        return self.rows.get(relative, {})


def read_metadata(
    root: Path,
    files: Iterable[str],
    reserved: Iterable[str],
    name: str = METADATA,
    silent: Collection[str] = (),
) -> Metadata:
    """Read `root`/metadata.csv, or another table of the same form, and match its rows with files.

    A row names its piece by `path` (relative), `file` (name), `piece` or `stem`, with or without
    suffix and in this order of preference. Rows without a file, or with several that are not
    one piece, are warnings, but for those in `silent`. A column whose name is taken is carried as
    `metadata_<name>`.

    Raises:
        UserError: the file cannot be read, has none of these columns, or is configured and missing.
    """
    path = root / name
    if not path.is_file():
        if name != METADATA:
            raise UserError(
                f"there is no {name} in the corpus",
                code="file-not-found",
                where=str(root),
                why="the corpus's `metadata` names it",
                do="check the name; without `metadata`, metadata.csv is read where there is one",
            )
        return Metadata()
    table, warnings = read_table(path)
    table[:1] = [[_column(cell, i, row) for i, cell in enumerate(row)] for row in table[:1]]
    header = _key(path, table)
    taken = set(reserved)
    names = {
        name: f"metadata_{name}" if name in taken else name for name in table[0] if name != header
    }
    rows: dict[str, dict[str, str]] = {}
    for line in table[1:]:
        record = dict(zip(table[0], line, strict=False))
        key = normal(record.pop(header, ""))
        if key in rows:
            warnings.append(f"{path.name} names {key!r} more than once; the first row counts")
        elif key:
            rows[key] = {names[name]: value for name, value in record.items()}
    chosen, unmatched = match_names(rows, files)
    if unmatched := [key for key in unmatched if key not in silent]:
        few = ", ".join(unmatched[:5]) + (" …" if len(unmatched) > 5 else "")
        warnings.append(f"{len(unmatched)} rows of {path.name} have no single file: {few}")
    matched = {relative: rows[key] for relative, key in chosen.items()}
    return Metadata(list(names.values()), matched, warnings)


def _key(path: Path, table: list[list[str]]) -> str:
    """The column that names the pieces.

    Raises:
        UserError: there is none.
    """
    if found := [key for key in KEYS if table and key in table[0]]:
        return found[0]
    raise UserError(
        f"{path.name} does not say which pieces it is about",
        code="missing-column",
        where=str(path),
        why=f"its columns are: {', '.join(table[0]) if table else 'none'}",
        do=f"add a column {' or '.join(KEYS)} with the path or name of each file",
    )


def _column(name: str, index: int, header: list[str]) -> str:
    """Every column has a name, and no two have the same."""
    lower = name.lower()
    name = lower if lower in (*KEYS, "split", "tune", REJECT) else name or f"column_{index + 1}"
    return name if name not in header[:index] else f"{name}_{index + 1}"
