"""Where the pieces of an ingest table lie."""

from __future__ import annotations

from pathlib import Path

from etude.corpus.rows import Row
from etude.corpus.scan import list_files, piece_id


def piece_paths(root: Path, rows: list[Row]) -> dict[str, Path]:
    """The file of each piece.

    A table has no bytes that are not UTF-8: files with such names are looked up.
    """
    paths = {row["piece"]: root / row["path"] for row in rows}
    if any(piece_id(row["path"]) != row["piece"] for row in rows):
        paths |= {piece_id(relative): root / relative for relative in list_files(root)}
    return paths
