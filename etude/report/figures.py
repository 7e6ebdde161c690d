"""Cells of CSVs as figures, and figures as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from etude.storage import read_csv

Row = dict[str, str]


FIT = "a line in 1/n"  # how FAD-infinity was fitted: nobody reads that beside a figure
MORE = "more notes of other cells"


def split_note(note: str) -> tuple[str, str]:
    """A note as it is shown, and what of it is a tooltip: how a figure was fitted."""
    parts = note.split("; ")
    fits = [part for part in parts if part.startswith(FIT)]
    if fits:
        fits += [part for part in parts if MORE in part]
    return "; ".join(part for part in parts if part not in fits), "; ".join(fits)


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a CSV; none if it is missing."""
    if path.is_file():
        for row in read_csv(path):
            yield {key: value or "" for key, value in row.items() if key is not None}


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Paths with seed-10 after seed-9."""
    return sorted(paths, key=lambda path: [_key(part) for part in path.parts])


def _key(part: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"(\d+)", part)
    return [(1, int(p), "") if p.isdecimal() and p.isascii() else (0, 0, p) for p in pieces]


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with a real minus sign; a dash where there is none."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0  # turns -0.0 into 0.0
    return f"{rounded:,.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as a person says them: 0.8 s, 42 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def some(count: int, one: str, many: str = "") -> str:
    """`1 clip`, `1,024 clips`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def figure(value: float | None) -> str:
    """A number of any size with three or four digits that count."""
    if value is None:
        return "–"
    size = abs(value)
    if size and (size >= 1e6 or size < 1e-3):
        return f"{value:.2e}".replace("-", "−")
    return decimal(value, 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3)


def percent(value: float | None) -> str:
    """A share in per cent: with a decimal where it is small or nearly all."""
    if value is None:
        return "–"
    whole = value in (0, 1) or 0.095 <= value <= 0.985
    return f"{decimal(100 * value, 0 if whole else 1)} %".replace(" ", "\N{NO-BREAK SPACE}")


def p_value(value: float | None) -> str:
    """A p-value; below a thousandth no digit of it means anything."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def capitalised(text: str) -> str:
    """A text that begins a sentence; what follows stays as it is."""
    return text[:1].upper() + text[1:]


def numbers(heading: str) -> str:
    """A heading of a column of numbers, as the page's tables mark it."""
    return f"#{heading}"
