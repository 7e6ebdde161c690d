"""Tables that people write: read leniently, and their rows matched with files."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from etude.corpus.scan import music_kind, piece_id, printable
from etude.errors import UserError


def read_table(path: Path) -> tuple[list[list[str]], list[str]]:
    """Rows with the header first, and what was odd. Any of the separators of spreadsheets.

    Raises:
        UserError: the file cannot be read, or is no table.
    """
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
            code="unreadable-table",
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
            f"{path.name} is no table",
            code="unreadable-table",
            where=str(path),
            why=str(error),
            do="save it as CSV again",
        ) from None
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if rows:
        long = sum(len(row) > len(rows[0]) for row in rows)
        if long:
            warnings.append(f"{long} rows of {path.name} are longer than its header")
    return rows, warnings


def normal(name: str) -> str:
    """A name of a file as it is compared: one form of accents, slashes, no `./` in front."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))


def called(relative: str) -> list[str]:
    """What a file may be called in a table, from the surest to the loosest."""
    path = PurePosixPath(relative)
    names = (relative, path.with_suffix("").as_posix(), path.name, path.stem, piece_id(relative))
    return [normal(printable(name)) for name in names]


def match_names(keys: Iterable[str], files: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The key of each music file, and the keys that match no file, or files of several pieces.

    Args:
        keys: names as `normal` gives them: a path, a name, with or without suffix, or a piece.
    """
    found: dict[str, list[tuple[int, str]]] = {key: [] for key in keys}
    for relative in filter(music_kind, files):
        for level, name in enumerate(called(relative)):
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
    unmatched += [key for key in found if key not in used and key not in unmatched]
    return {relative: key for relative, (_, key) in best.items()}, unmatched
