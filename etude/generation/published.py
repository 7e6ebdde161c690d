"""What must be true, and be said, of a model that leaves the house: whose music it knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etude.config import Config
from etude.corpus.owners import count_owners
from etude.corpus.ownership import Ownership, read_ownership, told
from etude.corpus.rows import Row
from etude.errors import UserError
from etude.storage import read_csv
from etude.workflow.lineage import corpora_behind


@dataclass(frozen=True)
class Owned:
    """A corpus with owners: its name, its kept pieces (of pieces.csv), the table of rights."""

    corpus: str
    rows: Sequence[Row]
    ownership: Ownership


def owned_corpora(settings: Config, name: str, results: Path = Path("results")) -> list[Owned]:
    """The corpora with owners that an experiment knows, by itself or by what it was built upon.

    Raises:
        UserError: a table cannot be read, or the pieces of such a corpus are not here.
    """
    found = []
    for corpus in corpora_behind(settings, name):
        path = settings.corpora[corpus].ownership
        if path is None:
            continue
        pieces = results / "corpora" / corpus / "pieces.csv"
        if not pieces.is_file():
            raise UserError(
                f"the pieces of the corpus {corpus!r} are not here",
                where=str(pieces),
                why="it has owners, and without the pieces nobody can tell whose music this is",
                do=f"run the workflow again: snakemake --cores all {pieces}",
            )
        rows = [row for row in read_csv(pieces) if row["status"] == "kept"]
        found.append(Owned(corpus, rows, read_ownership(path, [row["path"] for row in rows])))
    return found


def check_publishing(owned: Sequence[Owned]) -> None:
    """See that every piece may be published by all its owners, and still be trained on.

    Raises:
        UserError: naming all pieces of which somebody has said no, or nothing.
    """
    for corpus in owned:
        files = [row["path"] for row in corpus.rows]
        if refused := corpus.ownership.refusals(files, publish=True):
            count = sum(map(len, refused.values()))
            raise UserError(
                f"{count} of {len(files)} pieces of {corpus.corpus!r} may not be published",
                where=str(corpus.ownership.path),
                why=told(refused),
                do="ask their owners and correct the table, or train without these files",
            )


def owners_text(owned: Sequence[Owned]) -> str:
    """The part of a model card about owners; empty where there are none."""
    parts = []
    for corpus in owned:
        lines = [
            f"| {row['contributor']} | {row['minutes']} | {100 * float(row['share']):.1f} % |"
            for row in count_owners(corpus.rows, corpus.ownership.rights)
        ]
        terms = "; ".join(
            f"{licence} ({minutes:.1f} min)" for licence, minutes in _licences(corpus).items()
        )
        parts += [
            f"### {corpus.corpus}",
            "",
            "Minutes of the training split, by each owner's share of a piece.",
            "",
            "| owner | minutes | share |",
            "|---|---|---|",
            *lines,
            "",
            f"Licences: {terms}.",
            "",
        ]
    return "\n".join(["## Owners", "", *parts]) if parts else ""


def _licences(corpus: Owned) -> dict[str, float]:
    """Minutes of the training split by licence, the most first."""
    minutes: defaultdict[str, float] = defaultdict(float)
    for row in corpus.rows:
        for right in corpus.ownership.rights.get(row["path"], ()):
            learned = right.share * float(row["seconds"]) / 60
            minutes[right.licence] += learned if row["split"] == "train" else 0.0
    return dict(sorted(minutes.items(), key=lambda item: (-item[1], item[0])))
