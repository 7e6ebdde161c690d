"""`python -m etude withdraw`: a row in withdrawn.csv, and what follows from it."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from etude import config
from etude.clean.command import refuse_if_in_use
from etude.config import Config
from etude.corpus.consent import root_of
from etude.corpus.scan import list_files, music_kind, printable
from etude.corpus.tables import match_names, normal, read_table
from etude.corpus.withdrawn import COLUMNS, find, pending, place_of, read_withdrawn
from etude.errors import UserError, closest
from etude.storage import atomic, hash_file, read_csv
from etude.withdrawal.removal import RESULTS, RemovalPlan, carry_out, survey

SHOWN = 12  # lines of a list


def withdraw(options: argparse.Namespace) -> list[str]:
    """Add rows to a corpus's table of withdrawn files; what to tell.

    Raises:
        UserError: no such corpus or file, or something runs here and `--now` is asked.
    """
    settings = config.read(config.DEFAULT, *options.configfile)
    report: list[str] = []
    if options.files:
        corpus = _corpus(settings, options.corpus)
        report = _add(settings, corpus, options.files, options.reason or "")
    elif not options.now:
        raise UserError(
            "no file is named", code="nothing-named", do="python -m etude withdraw FILE --reason …"
        )
    if options.now:
        refuse_if_in_use()
        return report + (carry_out(settings) or ["there was nothing to delete"])
    for name, entry in settings.corpora.items():
        if names := pending(entry, name):
            report += _plan_lines(survey(settings, name, names))
    return [*report, "", "snakemake --cores all does this, then trains again; --now only deletes"]


def _corpus(settings: Config, name: str | None) -> str:
    """The corpus that is meant.

    Raises:
        UserError: there is none of this name, or several that have owners.
    """
    owned = [corpus for corpus, entry in settings.corpora.items() if place_of(entry)]
    if name is None and len(owned) == 1:
        return owned[0]
    if name in owned:
        return str(name)
    wanted = f"the corpus {name!r} has no owners" if name else f"{len(owned)} corpora have owners"
    raise UserError(
        wanted + closest(name or "", owned),
        code="unknown-corpus",
        where=", ".join(owned) or "corpora in the configuration",
        why="a withdrawal is a row in the table beside a corpus's `ownership`, or in `withdrawn`",
        do="name one with --corpus, and the file of the configuration with --configfile",
    )


def _add(settings: Config, corpus: str, files: Sequence[str], reason: str) -> list[str]:
    """Write the rows of files that have none yet.

    Raises:
        UserError: a file is not of the corpus, or several files have its name.
    """
    entry = settings.corpora[corpus]
    path, root = place_of(entry), root_of(entry, corpus)
    assert path is not None
    hashes = _hashes(corpus)
    there = list(list_files(root)) if root.is_dir() else []
    every = [relative for relative in dict.fromkeys([*there, *hashes]) if music_kind(relative)]
    names = list(_each(files, every))
    find(names, every)  # a name of several files is refused
    chosen, unknown = match_names(names, every)
    if unknown:
        raise UserError(
            f"{len(unknown)} of these files are not of the corpus {corpus!r}",
            code="file-not-in-corpus",
            where=str(root),
            why=", ".join(name + closest(name, map(printable, every)) for name in unknown),
            do="write them as they lie in the corpus's folder",
        )
    known = read_withdrawn(entry) if path.is_file() else {}
    new = [relative for relative in sorted(chosen) if normal(printable(relative)) not in known]
    rows = [
        {
            "file": printable(relative),
            "date": date.today().isoformat(),  # noqa: DTZ011 (a day where the user is)
            "reason": reason,
            "sha256": hash_file(root / relative) if relative in there else hashes[relative],
        }
        for relative in new
    ]
    _append(path, rows)
    return [f"{len(rows)} rows in {path}: " + ", ".join(row["file"] for row in rows)]


def _each(names: Sequence[str], files: Sequence[str]) -> Iterator[str]:
    """The names, and in place of a folder (all snippets of a recording) what lies in it."""
    for name in map(normal, names):
        inside = [
            normal(f) for f in map(printable, files) if normal(f).startswith(f"{name.rstrip('/')}/")
        ]
        yield from inside or [name]


def _hashes(corpus: str, results: Path = RESULTS) -> dict[str, str]:
    """sha256 of the pieces that results know, by path."""
    pieces = results / "corpora" / corpus / "pieces.csv"
    return {row["path"]: row["sha256"] for row in read_csv(pieces)} if pieces.is_file() else {}


def _append(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Add rows to a table as it is, or begin one."""
    old = path.read_bytes().rstrip() + b"\n" if path.is_file() else b""
    header = [name.strip().lower() for name in read_table(path)[0][0]] if old.strip() else COLUMNS
    first = old.partition(b"\n")[0].decode("utf-8", "replace")
    text = io.StringIO()
    separator = max(",;\t", key=first.count)
    writer = csv.DictWriter(text, header, "", "ignore", delimiter=separator, lineterminator="\n")
    if not old.strip():
        old = b""
        writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(old + text.getvalue().encode())


def _plan_lines(found: RemovalPlan) -> list[str]:
    """What will be deleted, in lines."""
    lines = ["", "will be deleted:"]
    paths = [str(path) for path in found.paths]
    lines += [f"  {path}" for path in paths[:SHOWN]]
    lines += [f"  … and {len(paths) - SHOWN} more"] * (len(paths) > SHOWN)
    lines += [f"  the export {folder}" for folder in found.exports]
    lines += [f"  {len(found.kept)} kept embeddings"] * bool(found.kept)
    lines += [f"trained again: {', '.join(found.experiments) or 'nothing'}"]
    lines += [f"not within reach, delete it there: {place}" for place in found.elsewhere]
    return lines
