"""Whose music a model learned from: minutes and shares, for cards and for clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from etude.corpus.rows import Row
from etude.storage import read_csv, write_csv

VERSION = 1  # raised when owners.csv changes
COLUMNS = ["contributor", "pieces", "minutes", "share", "held_out_minutes"]


class _Right(Protocol):
    @property
    def contributor(self) -> str: ...
    @property
    def share(self) -> float: ...


def count_owners(
    rows: Iterable[Row], rights: Mapping[str, Sequence[_Right]]
) -> list[dict[str, Any]]:
    """A row for each contributor, by name.

    minutes: of the training split, by each one's share of a piece; share: of all these minutes;
    held_out_minutes: of the other splits, which no model learned from; pieces: of all splits.

    Args:
        rows: of pieces.csv.
        rights: by relative path.
    """
    minutes: defaultdict[str, float] = defaultdict(float)
    held_out: defaultdict[str, float] = defaultdict(float)
    pieces: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        if row["status"] != "kept":
            continue
        for right in rights.get(row["path"], ()):
            into = minutes if row["split"] == "train" else held_out
            into[right.contributor] += right.share * float(row["seconds"]) / 60
            pieces[right.contributor] += 1
    total = sum(minutes.values()) or 1.0
    return [
        {
            "contributor": name,
            "pieces": pieces[name],
            "minutes": f"{minutes[name]:.2f}",
            "share": f"{minutes[name] / total:.4f}",
            "held_out_minutes": f"{held_out[name]:.2f}",
        }
        for name in sorted(pieces)
    ]


def write_owners(pieces: Path, rights: Mapping[str, Sequence[_Right]], output: Path) -> None:
    """Write owners.csv from pieces.csv."""
    write_csv(output, COLUMNS, count_owners(read_csv(pieces), rights))


@dataclass(frozen=True)
class Owners:
    """The owners of a corpus, as owners.csv has them."""

    corpus: str
    rows: Sequence[Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> Owners:
        """Of results/corpora/{corpus}/owners.csv."""
        return cls(path.parent.name, list(read_csv(path)))

    @property
    def about(self) -> list[dict[str, Any]]:
        """What weights.json says of it, beside the clips."""
        return [
            {
                "contributor": row["contributor"],
                "minutes": float(row["minutes"]),
                "share": float(row["share"]),
            }
            for row in self.rows
            if float(row["minutes"])
        ]
