"""Who owns the files of a corpus, and what each of the owners has agreed to.

A table that a group keeps (docs/ownership.md): a row for each file and contributor. Nothing is
trained on a file for which a row, a date of consent or the word `may_train` is missing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

from etude.corpus.licences import licence
from etude.corpus.scan import music_kind, printable
from etude.corpus.tables import match_names, normal, read_table
from etude.errors import UserError, closest

COLUMNS = (
    *("file", "contributor", "licence", "share"),
    *("consent_date", "may_train", "may_publish"),
)
YES, NO = ("yes", "y", "true", "1", "x"), ("no", "n", "false", "0")
TOLERANCE = Fraction(1, 50)  # three times 33 % are a whole
GERMAN_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")  # as spreadsheets write it


@dataclass(frozen=True)
class Right:
    """One contributor's part in a file.

    Attributes:
        share: of the file, 0 to 1; those of a file's contributors sum to 1.
        consent: the day of the agreement; None: there is none yet.
    """

    contributor: str
    licence: str
    share: float
    consent: date | None
    may_train: bool
    may_publish: bool


@dataclass(frozen=True)
class Ownership:
    """A table: the rights in each file by its relative path."""

    path: Path
    rights: Mapping[str, Sequence[Right]]

    def refusals(self, files: Iterable[str], *, publish: bool = False) -> dict[str, list[str]]:
        """Files that may not be trained on, or published, by the reason, with who refused."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for relative in files:
            rights = self.rights.get(relative, ())
            name = printable(relative)
            if not rights:
                found["no row"].append(name)
            for why, asked in _REASONS.items():
                refused = [right.contributor for right in rights if not asked(right)]
                if refused and (publish or why != _NOT_PUBLISHED):
                    found[why].append(f"{name} ({', '.join(refused)})")
                    break
        return dict(found)


_NOT_PUBLISHED = "may_publish is not yes"
_REASONS: dict[str, Callable[[Right], bool]] = {
    "no consent date": lambda right: right.consent is not None,
    "may_train is not yes": lambda right: right.may_train,
    _NOT_PUBLISHED: lambda right: right.may_publish,
}


def refusal_text(refused: Mapping[str, Sequence[str]]) -> str:
    """All files that were refused, by the reason and with counts."""
    parts = (f"{why} ({len(names)}): {', '.join(names)}" for why, names in refused.items())
    return "; ".join(parts)


def read_ownership(path: Path, files: Sequence[str]) -> Ownership:
    """Read a table and match its rows with files; UTF-8, with a BOM or without, `,`, `;` or tabs.

    Rows of missing files are ignored: `limit` leaves files out, owners withdraw.

    Raises:
        UserError: it cannot be read, lacks a column, or has rows that cannot be used; all of these
            are listed.
    """
    if not path.is_file():
        raise UserError(
            "the table of owners is not there",
            code="file-not-found",
            where=str(path.absolute()),
            why="the corpus's `ownership` names it",
            do=f"write a CSV with the columns {', '.join(COLUMNS)} (docs/ownership.md)",
        )
    rows = _by_file(path, read_table(path)[0])
    chosen, _ = match_names(rows, files)
    return Ownership(path, {file: rows[key] for file, key in chosen.items()})


def check_consent(path: Path, files: Sequence[str]) -> Ownership:
    """See that all owners of every music file have agreed to training.

    Args:
        files: of the corpus, relative; what is not music needs no row.

    Raises:
        UserError: naming all files without consent; and as `read_ownership`.
    """
    music = [relative for relative in files if music_kind(relative)]
    found = read_ownership(path, files)
    if refused := found.refusals(music):
        count = sum(map(len, refused.values()))
        raise UserError(
            f"{count} of {len(music)} music files have no consent to be trained on",
            code="no-consent",
            where=str(path),
            why=refusal_text(refused),
            do="add to the table what was agreed, or take these files out of the corpus; for a "
            "consent that was taken back: python -m etude withdraw (docs/ownership.md)",
        )
    return found


# ------------------------------------------------------------------------------- reading rows


def _by_file(path: Path, table: list[list[str]]) -> dict[str, list[Right]]:
    """The rights by the name that the table has for a file."""
    header = [name.strip().lower().replace(" ", "_") for name in table[0]] if table else []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        like = "".join(closest(name, header) for name in missing[:1])
        raise UserError(
            f"{path.name} lacks the column {', '.join(missing)}{like}",
            code="missing-column",
            where=str(path),
            why=f"its columns are: {', '.join(header) or 'none'}",
            do=f"give it the columns {', '.join(COLUMNS)}; further ones may follow",
        )
    wrong: list[str] = []
    raw: defaultdict[str, list[tuple[Right, Fraction | None]]] = defaultdict(list)
    for number, line in enumerate(table[1:], start=2):
        cells = dict(zip(header, line, strict=False))
        name = normal(cells.get("file", ""))
        try:
            raw[name].append(_right({name: cells.get(name, "") for name in COLUMNS}))
        except ValueError as error:
            wrong.append(f"row {number} ({name or 'no file'}): {error}")
    rows = {name: list(_shared(name, parts, wrong)) for name, parts in raw.items()}
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(table) - 1} rows of {path.name} cannot be used",
            code="invalid-rows",
            where=str(path),
            why="; ".join(wrong),
            do="correct them; docs/ownership.md says what each column holds",
        )
    return rows


def _right(cells: dict[str, str]) -> tuple[Right, Fraction | None]:
    """A row, and the share that it states."""
    for name in ("file", "contributor", "licence"):
        if not cells[name]:
            raise ValueError(f"{name} is empty")
    stated = _share(cells["share"])
    return Right(
        cells["contributor"],
        licence(cells["licence"]),
        0.0,  # decided with those of the file's other contributors
        _day(cells["consent_date"]),
        _answer("may_train", cells["may_train"]),
        _answer("may_publish", cells["may_publish"]),
    ), stated


def _answer(column: str, word: str) -> bool:
    """Yes or no; an empty cell is no: nobody has agreed yet."""
    if word.lower() in YES:
        return True
    if word.lower() in (*NO, ""):
        return False
    raise ValueError(f"{column} must be yes or no, it is {word!r}")


def _day(word: str) -> date | None:
    """A date as 2026-05-31 or 31.05.2026; other orders of day and month are guesses."""
    if not word:
        return None
    found = GERMAN_DATE.fullmatch(word)
    try:
        day = date(int(found[3]), int(found[2]), int(found[1])) if found else _iso(word)
    except ValueError:
        raise ValueError(f"consent_date {word!r} is no date like 2026-05-31") from None
    if day > date.today():  # noqa: DTZ011 (a day is a day where the user is)
        raise ValueError(f"consent_date {word} lies in the future")
    return day


def _iso(word: str) -> date:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
        raise ValueError(word)
    return date.fromisoformat(word)


def _share(word: str) -> Fraction | None:
    """A share as 0.5, 0,5, 50 % or 1/2; None: an equal one."""
    if not word:
        return None
    plain = word.replace(" ", "").replace(",", ".")
    try:
        share = Fraction(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    if share < 0 or share > 1:
        raise ValueError(f"share {word!r} is no share of a whole, like 0.5 or 50 %")
    return share


def _shared(
    name: str, parts: Sequence[tuple[Right, Fraction | None]], wrong: list[str]
) -> Iterator[Right]:
    """The rights in one file with their shares: as stated, or equal where none is."""
    stated = [share for _, share in parts if share is not None]
    whole = sum(stated, Fraction(0))
    people = [right.contributor for right, _ in parts]
    if len(set(people)) < len(people):
        wrong.append(f"{name}: a contributor has two rows")
    elif stated and len(stated) < len(parts):
        wrong.append(f"{name}: some of its rows state a share and others do not")
    elif stated and abs(whole - 1) > TOLERANCE:
        wrong.append(f"{name}: its shares sum to {float(whole):.2f}, not to 1")
    for right, share in parts:
        part = Fraction(1, len(parts)) if share is None or not whole else share / whole
        yield Right(**{**vars(right), "share": float(part)})
