"""What must be true, and be said, of a model that leaves the house: whose music it knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etude.config import Config
from etude.corpus.owners import count_owners
from etude.corpus.ownership import Ownership, read_ownership, refusal_text
from etude.corpus.rows import Row
from etude.corpus.withdrawn import read_withdrawn
from etude.errors import UserError
from etude.storage import read_csv
from etude.workflow.lineage import corpora_behind


@dataclass(frozen=True)
class Owned:
    """A corpus with owners, or of which files were withdrawn.

    Attributes: corpus (its name), rows (its kept pieces, of pieces.csv), ownership (None: no table
    says whose they are), withdrawn (how many files are left out for good).
    """

    corpus: str
    rows: Sequence[Row]
    ownership: Ownership | None
    withdrawn: int


def owned_corpora(settings: Config, name: str, results: Path = Path("results")) -> list[Owned]:
    """The corpora with owners that an experiment knows, by itself or by what it was built upon.

    Raises:
        UserError: a table cannot be read, or the pieces of such a corpus are not here.
    """
    found = []
    for corpus in corpora_behind(settings, name):
        path = settings.corpora[corpus].ownership
        withdrawn = len(read_withdrawn(settings.corpora[corpus]))
        if path is None and not withdrawn:
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
        rights = read_ownership(path, [row["path"] for row in rows]) if path else None
        found.append(Owned(corpus, rows, rights, withdrawn))
    return found


def check_publishing(owned: Sequence[Owned]) -> None:
    """See that every piece may be published by all its owners, and still be trained on.

    Raises:
        UserError: naming all pieces of which somebody has said no, or nothing.
    """
    for corpus in owned:
        files = [row["path"] for row in corpus.rows]
        if corpus.ownership is None:
            continue
        if refused := corpus.ownership.refusals(files, publish=True):
            count = sum(map(len, refused.values()))
            raise UserError(
                f"{count} of {len(files)} pieces of {corpus.corpus!r} may not be published",
                where=str(corpus.ownership.path),
                why=refusal_text(refused),
                do="ask their owners and correct the table, or train without these files",
            )


def pieces_of(owned: Sequence[Owned]) -> list[str]:
    """sha256 of all pieces that the model knows, sorted: by these a withdrawal finds an export."""
    return sorted({row["sha256"] for corpus in owned for row in corpus.rows})


def owners_text(owned: Sequence[Owned]) -> str:
    """The part of a model card about owners and withdrawals; empty where there are none."""
    parts = ["## Owners", ""] if owned else []
    for corpus in owned:
        parts += [f"### {corpus.corpus}", ""]
        if corpus.ownership is not None:
            parts += _of_owners(corpus, corpus.ownership)
        if corpus.withdrawn:
            number = f"{corpus.withdrawn} files were" if corpus.withdrawn > 1 else "One file was"
            parts += [f"{number} withdrawn by the owners. This model was trained without.", ""]
    return "\n".join(parts)


def _of_owners(corpus: Owned, ownership: Ownership) -> list[str]:
    lines = [
        f"| {row['contributor']} | {row['minutes']} | {100 * float(row['share']):.1f} % |"
        for row in count_owners(corpus.rows, ownership.rights)
    ]
    minutes: defaultdict[str, float] = defaultdict(float)
    for row in corpus.rows:
        for right in ownership.rights.get(row["path"], ()):
            learned = right.share * float(row["seconds"]) / 60
            minutes[right.licence] += learned if row["split"] == "train" else 0.0
    ordered = sorted(minutes.items(), key=lambda item: (-item[1], item[0]))
    terms = "; ".join(f"{licence} ({minutes:.1f} min)" for licence, minutes in ordered)
    about = "Minutes of the training split, by each owner's share of a piece."
    table = ["| owner | minutes | share |", "|---|---|---|", *lines]
    return [about, "", *table, "", f"Licences: {terms}.", ""]
