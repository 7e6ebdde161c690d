"""One table per experiment, training seed and draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from etude.results.systems import clip_sets
from etude.storage import read_csv

VERSION = 6  # raised when what is read changes

Row = dict[str, str]


@dataclass
class Table:
    """One experiment, one training seed, one draw.

    Attributes:
        rows: tidy rows of its clips and of the sets beside them.
        of_training: rows of its training as a whole, whatever is drawn from it.
        rivals: rows of rivals.csv: how much farther from real music than each rival it is.
        concepts: rows of concept.csv of its training: what words are worth.
    """

    rows: list[Row]
    of_training: list[Row] = field(default_factory=list)
    rivals: list[Row] = field(default_factory=list)
    concepts: list[Row] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Training seed and draw in words."""
        return f"seed {self.rows[0]['train_seed']}, draw {self.rows[0]['draw']}"

    @property
    def experiment(self) -> str:
        """The one that it belongs to."""
        return self.rows[0]["experiment"]

    @property
    def system(self) -> str:
        """The one that it belongs to."""
        return self.rows[0]["system"]

    def value(self, clips: str, metric: str, embedding: str = "") -> float | None:
        """A figure; None if it is missing."""
        row = self.row(clips, metric, embedding)
        return float(row["value"]) if row and row["value"] else None

    def row(self, clips: str, metric: str, embedding: str = "") -> Row | None:
        """The row of a figure; None if it is missing."""
        wanted = (clips, metric, embedding)
        rows = (r for r in self.rows if (r["clips"], r["metric"], r["embedding"]) == wanted)
        return next(rows, None)

    def count(self, clips: str, embedding: str = "") -> str:
        """Number of clips of a set, or of those that a distance was made of."""
        found = (r["n"] for r in self.rows if (r["clips"], r["embedding"]) == (clips, embedding))
        return next(found, "0")

    def note(self, clips: str, embedding: str) -> str:
        """Why a figure is missing."""
        found = (r["note"] for r in self.rows if (r["clips"], r["embedding"]) == (clips, embedding))
        return next(found, "n/a")

    @property
    def sets(self) -> list[str]:
        """Clip sets, in the order of every table."""
        there = {row["clips"] for row in self.rows}
        return [name for name in clip_sets() if name in there]


def read_tables(
    paths: Iterable[Path], rivals: Iterable[Path] = (), concepts: Iterable[Path] = ()
) -> list[Table]:
    """One table per experiment, training seed and draw.

    Args:
        paths: tidy CSVs.
        rivals: rivals.csv of the same clips.
        concepts: .../{experiment}/seed-S/concept.csv of the same trainings.
    """
    tables: dict[tuple[str, str, str], Table] = {}
    trainings: dict[tuple[str, str], list[Row]] = {}
    for path in paths:
        for row in read_csv(path):
            key = row["experiment"], row["train_seed"]
            if row["draw"]:
                tables.setdefault((*key, row["draw"]), Table([])).rows.append(row)
            else:  # of a training as a whole, as perplexity is
                trainings.setdefault(key, []).append(row)
    for path in rivals:
        for row in read_csv(path):
            key = row["experiment"], row["train_seed"]
            if table := tables.get((*key, row["draw"])):
                table.rivals.append(row)
    words = {
        (path.parents[1].name, path.parent.name.removeprefix("seed-")): list(read_csv(path))
        for path in concepts
    }
    for (experiment, seed, _), table in tables.items():
        table.of_training = trainings.get((experiment, seed), [])
        table.concepts = words.get((experiment, seed), [])
    return list(tables.values())
