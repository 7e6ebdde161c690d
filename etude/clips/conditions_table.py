"""What clips of others were asked to be: conditions.csv beside them.

A row a clip: `clip` or `file` names it (with or without its suffix, by its path below the folder);
`prompt` (or `text`, `caption`) is the text that it was made from, `prime` what it continues;
other columns are kept as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from etude.errors import UserError
from etude.storage import read_csv

log = logging.getLogger(__name__)

FILE = "conditions.csv"
NAMES = ("clip", "file", "filename", "path")
TEXTS = ("prompt", "text", "caption")
Conditions = dict[str, dict[str, str]]


def read_conditions(folder: Path, files: Iterable[str]) -> Conditions:
    """Rows by the file that each is of, of those files that have one; `prompt` is the text.

    Args:
        files: the clips, as paths below the folder.

    Raises:
        UserError: the table names no clips, or cannot be read.
    """
    if not (folder / FILE).is_file():
        return {}
    known: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file)
        known |= {file: file, path.with_suffix("").as_posix(): file}
    rows = _rows(folder / FILE)
    column = next((name for name in NAMES if rows and name in rows[0]), None)
    if column is None:
        raise UserError(
            "the table beside the clips names no clips",
            where=str(folder / FILE),
            why=f"it has none of the columns {', '.join(NAMES)}, or no rows",
            do="give it a column `clip` with the names of the files, and `prompt` with their texts",
        )
    found: Conditions = {}
    for row in rows:
        if (named := known.get(row[column].strip())) is not None:
            text = next((row[name] for name in TEXTS if row.get(name)), "")
            rest = {k: v for k, v in row.items() if k not in (*NAMES, *TEXTS) and v}
            found[named] = {"prompt": text} | rest
    if len(found) < len(rows):
        log.warning("%s: %d rows name no clip", folder / FILE, len(rows) - len(found))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        return [{k: v or "" for k, v in row.items() if k} for row in read_csv(path)]
    except (OSError, ValueError) as error:
        raise UserError(
            "the table beside the clips cannot be read",
            where=str(path),
            why=str(error).splitlines()[0],
            do="save it as CSV, in UTF-8",
        ) from None
