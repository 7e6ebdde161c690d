"""The form of a piece: sections with letters and lengths in bars, as i8A8A8B4.

The same letter is the same music. What a network is told of it does not depend on which letters
are used: they are numbered in the order in which they appear.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etude.errors import UserError

VERSION = 1  # raised when the same piece has other sections

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
OF_BARS = ("letter", "place", "left", "turn")  # the rows of `section_features`
UNKNOWN = -1


class SongSection(NamedTuple):
    """Some bars in a row."""

    letter: str
    bars: int


def parse_sections(text: str, where: str = "", bars: int | None = None) -> list[SongSection]:
    """Sections from a text such as i8A8A8B4.

    Args:
        where: whose they are, for messages.
        bars: how many there must be in all; None: any number.

    Raises:
        UserError: it is no such text, or the sum is another.
    """
    found = [
        SongSection(letter, int(count)) for letter, count in re.findall(r"([A-Za-z])(\d+)", text)
    ]
    if not found or to_text(found) != text or min(section.bars for section in found) < 1:
        raise UserError(
            f"these are no sections: {text!r}",
            code="invalid-sections",
            where=where,
            why="each is a letter with its length in bars, and nothing stands between them",
            do="write them as in i8A8A8B4",
        )
    total = sum(section.bars for section in found)
    if bars is not None and total != bars:
        raise UserError(
            f"the sections {text} have {total} bars, and the piece has {bars}",
            code="length-of-sections",
            where=where,
            do=f"correct their lengths, so that their sum is {bars}",
        )
    return found


def to_text(sections: Sequence[SongSection]) -> str:
    """The reverse."""
    return "".join(f"{section.letter}{section.bars}" for section in sections)


def read_labels(path: Path) -> dict[str, str]:
    """The sections of pieces from a CSV file with the columns piece and sections.

    Raises:
        UserError: it cannot be read, lacks a column, or a row has no sections.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            "the labels cannot be read", code="unreadable-table", where=str(path), why=str(error)
        ) from error
    if not rows or not {"piece", "sections"} <= rows[0].keys():
        raise UserError(
            "the labels lack a column, or have no rows",
            code="missing-column",
            where=str(path),
            do="write a CSV file with the columns piece and sections (i8A8A8B4)",
        )
    for number, row in enumerate(rows, start=2):
        parse_sections(row["sections"] or "", f"{path}, line {number}")
    return {row["piece"]: row["sections"] for row in rows}


def of_repeats(repeat: NDArray[np.int64], least: int = 2) -> list[SongSection]:
    """Sections from the exact repeats of a piece.

    A run of `least` bars or more that repeats earlier ones in their order is a section of the same
    letter as these; what lies between is a section of its own.

    Args:
        repeat: int64 [bars], for each bar the first of the piece that is equal to it.
    """
    bars = len(repeat)
    if not bars:
        return []
    runs = _runs(repeat, least)
    edges = {0, bars, *(edge for run in runs for edge in run)}
    edges |= {int(repeat[start]) + edge - start for start, end in runs for edge in (start, end)}
    while more := _carried(edges, runs, repeat) - edges:  # an edge in a copy is one in the original
        edges |= more
    source = {bar: int(repeat[bar]) for start, end in runs for bar in range(start, end)}
    letters: dict[int, str] = {}  # of the bar that a section first began with
    found = []
    for start, end in pairwise(sorted(edges)):
        first = source.get(start, start)
        if first not in letters:
            if len(letters) == len(LETTERS):  # too many to tell apart: only longer runs count
                return of_repeats(repeat, least + 1)
            letters[first] = LETTERS[len(letters)]
        found.append(SongSection(letters[first], end - start))
    return found


def _runs(repeat: NDArray[np.int64], least: int) -> list[tuple[int, int]]:
    """Longest stretches [start, end) of bars that repeat bars in a row."""
    runs, start = [], 0
    for bar in range(1, len(repeat) + 1):
        goes_on = bar < len(repeat) and repeat[bar] == repeat[bar - 1] + 1
        if goes_on and (repeat[bar] < bar) == (repeat[start] < start):
            continue
        if repeat[start] < start and bar - start >= least:
            runs.append((start, bar))
        start = bar
    return runs


def _carried(edges: set[int], runs: list[tuple[int, int]], repeat: NDArray[np.int64]) -> set[int]:
    """Edges within a run, as edges of what it repeats, and the reverse."""
    found = set()
    for start, end in runs:
        first = int(repeat[start])
        for edge in edges:
            if start < edge < end:
                found.add(edge - start + first)
            if first < edge < first + end - start:
                found.add(edge - first + start)
    return found


def section_features(sections: Sequence[SongSection]) -> NDArray[np.int64]:
    """What a network is told of each bar: int64 [4, bars], rows as in OF_BARS.

    Which letter (by first appearance), which bar of its section, how many are left in it after
    this one, and for the how many-th time the letter is there (from 0).
    """
    numbers: dict[str, int] = {}
    turns: dict[str, int] = {}
    columns = []
    for letter, bars in sections:
        number = numbers.setdefault(letter, len(numbers))
        turn = turns[letter] = turns.get(letter, -1) + 1
        columns += [(number, place, bars - 1 - place, turn) for place in range(bars)]
    return np.array(columns, dtype=np.int64).reshape(-1, len(OF_BARS)).T


def unknown(bars: int) -> NDArray[np.int64]:
    """The same of a piece whose sections are not known."""
    return np.full((len(OF_BARS), bars), UNKNOWN, dtype=np.int64)


def choose_form(forms: Sequence[str], bars: int, chance: float) -> str | None:
    """One of the forms with this many bars; where there is none, None.

    Args:
        forms: sections as texts, those that are frequent several times.
        chance: a random number in [0, 1).
    """
    fitting = [form for form in forms if sum(map(int, re.findall(r"\d+", form))) == bars]
    return fitting[int(chance * len(fitting))] if fitting else None
