"""captions.csv as people fill it in: its rows, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.corpus.captions import MANY_WORDS
from etude.corpus.metadata import KEYS
from etude.corpus.scan import AUDIO_SUFFIXES, list_files, printable
from etude.corpus.tables import match_names, normal, read_table
from etude.errors import UserError, closest

PROBLEMS = ["row", "file", "words", "problem"]
Row = dict[str, Any]


@dataclass(frozen=True)
class CaptionTable:
    """A table and the recordings that it is about.

    Attributes: columns, key (the column that names files), column (that of captions), rows (in
    their order), files (recordings of the folder, sorted), row_of (the row's number by file).
    """

    columns: list[str]
    key: str
    column: str
    rows: list[Row]
    files: list[str]
    row_of: dict[str, int]

    def caption(self, file: str) -> str:
        """The caption of a recording; empty where there is none."""
        number = self.row_of.get(file)
        return "" if number is None else str(self.rows[number].get(self.column, ""))


def read_captions(folder: Path, table: Path | None, column: str = "caption") -> CaptionTable:
    """Read a table and match it with the recordings of a folder.

    Args:
        table: None, or not there yet: no recording has a caption.

    Raises:
        UserError: the folder or the table cannot be read, or it lacks a column.
    """
    kinds = AUDIO_SUFFIXES
    files = [f for f in list_files(folder) if Path(f).suffix.lower() in kinds]
    if table is None or not table.is_file():
        return CaptionTable(["file", column], "file", column, [], files, {})
    lines, _ = read_table(table)
    header = lines[0] if lines else []
    key = next((name for name in KEYS if name in header), None)
    missing = " or ".join(KEYS[:3]) if key is None else "" if column in header else column
    if key is None or missing:
        raise UserError(
            f"{table.name} has no column {missing}{closest(column, header)}",
            where=str(table),
            why=f"its columns are: {', '.join(header) or 'none'}",
            do=f"give it the columns file and {column}",
        )
    rows: list[Row] = [dict(zip(header, line, strict=False)) for line in lines[1:]]
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        first.setdefault(normal(row.get(key, "")), number)
    chosen, _ = match_names(first, files)
    row_of = {file: first[name] for file, name in chosen.items()}
    return CaptionTable(list(header), key, column, rows, files, row_of)


def count_words(caption: str) -> int:
    """Words of a caption, as people count them."""
    return len(caption.split())


def problems(found: CaptionTable, most: int = MANY_WORDS) -> Iterator[Row]:
    """A row for each recording or line with which something is wrong; line numbers as an editor's.

    `missing` (a recording without a line), `empty`, `too_long`, `no_file` (a line without a
    recording), `named_twice`.
    """
    used = set(found.row_of.values())
    names: dict[str, int] = {}
    for number, row in enumerate(found.rows):
        caption, name = row.get(found.column, ""), row.get(found.key, "")
        facts = {"row": number + 2, "file": name, "words": count_words(caption)}
        first = names.setdefault(normal(name), number)
        if first != number:
            yield facts | {"problem": f"named_twice: as in row {first + 2}, which counts"}
        elif number not in used:
            yield facts | {"problem": "no_file: no single recording of the folder has this name"}
        elif not caption.strip():
            yield facts | {"problem": "empty"}
        elif facts["words"] > most:
            yield facts | {"problem": f"too_long: {facts['words']} words, {most} are read"}
    for file in found.files:
        if file not in found.row_of:
            yield {"row": "", "file": printable(file), "words": 0, "problem": "missing"}


def as_rows(found: CaptionTable) -> tuple[list[str], list[list[str]]]:
    """The table for the sheet: of every recording a row, with the columns of the user's."""
    columns = list(found.columns)
    rows = []
    for file in found.files:
        number = found.row_of.get(file)
        row = {} if number is None else found.rows[number]
        name = str(row.get(found.key, "")) if number is not None else printable(file)
        rows.append([name if c == found.key else str(row.get(c, "")) for c in columns])
    return columns, rows
