"""Files whose owners withdrew their consent: they are no longer read, as if they were missing.

withdrawn.csv              the user's table: file, date, reason, sha256 (of the file)
results/ownership/withdrawn.json    by corpus, digests of the rows that have been carried out

A row is pending until everything made with the file is deleted (etude.withdrawal). Read when
Snakemake parses the workflow: standard library and pydantic only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from etude.config import CorpusBase
from etude.corpus.scan import list_files, music_kind
from etude.corpus.tables import called, match_names, normal, read_table
from etude.errors import UserError
from etude.storage import read_json, write_json

NAME = "withdrawn.csv"
COLUMNS = ["file", "date", "reason", "sha256"]
FOLDER = "ownership"  # below results/
RECORD = f"{FOLDER}/withdrawn.json"
RESULTS = Path("results")


def place_of(settings: CorpusBase) -> Path | None:
    """Where the table of a corpus is, or would be; None: it has neither owners nor withdrawals."""
    if settings.withdrawn is not None:
        return settings.withdrawn
    return settings.ownership.with_name(NAME) if settings.ownership is not None else None


def read_withdrawn(settings: CorpusBase) -> dict[str, dict[str, str]]:
    """The rows of a corpus's table by file; nothing where there is no table.

    Raises:
        UserError: the table that config names is not there, or none can be read.
    """
    path = place_of(settings)
    if path is None or (not path.is_file() and settings.withdrawn is None):
        return {}
    if not path.is_file():
        raise UserError(
            "the table of withdrawn files is not there",
            code="file-not-found",
            where=str(path.absolute()),
            why="the corpus's `withdrawn` names it, and without it they would be used again",
            do=f"put it back, or begin one with the header {','.join(COLUMNS)}",
        )
    table, _ = read_table(path)
    header = [name.strip().lower() for name in table[0]] if table else []
    if "file" not in header:
        raise UserError(
            f"{path.name} has no column file",
            code="missing-column",
            where=str(path),
            why=f"its columns are: {', '.join(header) or 'none'}",
            do=f"give it the header {','.join(COLUMNS)}",
        )
    rows = (dict(zip(header, line, strict=False)) for line in table[1:])
    return {normal(row["file"]): row for row in rows if row.get("file")}


def withdrawn_hashes(corpora: Mapping[str, CorpusBase]) -> set[str]:
    """sha256 of withdrawn files, as far as their tables have them."""
    rows = (row for settings in corpora.values() for row in read_withdrawn(settings).values())
    return {row["sha256"] for row in rows if row.get("sha256")}


def left_out(settings: CorpusBase, root: Path) -> frozenset[str]:
    """Relative paths in a corpus that are not read: withdrawn files, and the tables about owners.

    Raises:
        UserError: a name in the table is that of several pieces.
    """
    places = [settings.ownership, place_of(settings)]
    tables = [path.resolve() for path in places if path is not None]
    inside = {
        p.relative_to(root.resolve()).as_posix() for p in tables if root.resolve() in p.parents
    }
    names = read_withdrawn(settings)
    return frozenset(inside | find(names, list_files(root)) if names else inside)


def find(names: Collection[str], files: Iterable[str]) -> set[str]:
    """Those of some files that are withdrawn.

    Raises:
        UserError: a name is that of several pieces.
    """
    if not names:
        return set()
    music = [relative for relative in files if music_kind(relative)]
    chosen, unmatched = match_names(names, music)
    for name in unmatched:
        if several := [relative for relative in music if name in called(relative)]:
            raise UserError(
                f"a name in {NAME} is that of several files: {name}",
                code="ambiguous-name",
                where=", ".join(several),
                why="which of them is withdrawn decides what is trained on",
                do="write the whole path from the corpus's folder",
            )
    return set(chosen)


def forms(names: Iterable[str]) -> set[str]:
    """All names that tables may have for some files, so that none is reported any more."""
    return {form for name in names for form in called(name)}


# --------------------------------------------------------------------------- what is pending


def digest(corpus: str, name: str) -> str:
    """What replaces a row where the file's name must not appear: 16 hex digits."""
    return hashlib.sha256(f"{corpus}/{name}".encode()).hexdigest()[:16]


def version_of(settings: CorpusBase) -> Mapping[str, str]:
    """For `version` of a rule: changes with the withdrawals; nothing where there are none."""
    names = sorted(read_withdrawn(settings))
    return {"withdrawn": digest("", "\n".join(names))} if names else {}


def carried_out(results: Path = RESULTS) -> dict[str, list[str]]:
    """Digests of the withdrawals that are complete, by corpus."""
    try:
        found = read_json(results / RECORD)
        return {corpus: list(digests) for corpus, digests in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def pending(settings: CorpusBase, corpus: str, results: Path = RESULTS) -> list[str]:
    """Names of withdrawn files that results may still know."""
    names = read_withdrawn(settings)
    if not names or not (results / "corpora" / corpus).is_dir():
        return []
    done = carried_out(results).get(corpus, [])
    return [name for name in names if digest(corpus, name) not in done]


def record_withdrawn(corpora: Mapping[str, CorpusBase], results: Path = RESULTS) -> None:
    """Note that all rows of all tables are carried out, and forget rows that are gone."""
    found = {
        corpus: sorted(digest(corpus, name) for name in read_withdrawn(settings))
        for corpus, settings in corpora.items()
    }
    kept = carried_out(results) | found  # a corpus of another configuration keeps its own
    kept = {corpus: digests for corpus, digests in kept.items() if digests}
    if kept != carried_out(results):
        write_json(results / RECORD, kept)


def refuse_if_pending(corpora: Mapping[str, CorpusBase], results: Path = RESULTS) -> None:
    """See that no withdrawal of these corpora, by name, waits to be carried out.

    Raises:
        UserError: one does: what is here may still know the file.
    """
    for corpus, settings in corpora.items():
        if names := pending(settings, corpus, results):
            raise UserError(
                f"{len(names)} withdrawn files of {corpus!r} are not yet forgotten",
                code="withdrawal-pending",
                where=str(place_of(settings)),
                why="what is in results/ may still know them; nothing is made of it until then",
                do="run the workflow, which deletes what knew them and trains without them: "
                "snakemake --cores all; or only delete: python -m etude withdraw --now",
            )
