"""docs/benchmarks.md: each benchmark writes its own section and leaves the others.

What belongs to a metric's own page is filled in there, between two marks.
"""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
METRICS = PAGE.with_name("metrics.md")
HEAD = """# Benchmarks

Written by `make proof`; each section by the script that it names. Ratios are between two things
that ran one after the other on the same machine; trust them more than seconds.
"""


def record(title: str, command: str, lines: list[str]) -> None:
    """Replace the section `title`; print it as well."""
    text = "\n".join([f"## {title}", "", f"`{command}`, {machine()}", "", *lines, ""])
    print(f"\n{text}")
    page = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else HEAD
    head, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    kept = [s for s in sections if not s.startswith(f"## {title}\n")]
    body = sorted([*(s.rstrip() + "\n" for s in kept), text])
    PAGE.write_text(head.rstrip() + "\n\n" + "\n".join(body), encoding="utf-8")


def fill(name: str, lines: list[str]) -> None:
    """Replace what stands between the marks `name` of docs/metrics.md; print it as well."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = METRICS.read_text(encoding="utf-8")
    head, tail = page[: page.index(begin)], page[page.index(end) :]
    text = "\n".join(lines)
    print(f"\n{text}")
    METRICS.write_text(f"{head}{begin}\n{text}\n{tail}", encoding="utf-8")


def table(columns: list[str], rows: list[list[object]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def machine() -> str:
    """The machine and the versions, in a few words."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "snakemake", "numpy"))
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{cores}, Python {platform.python_version()}, {packages}"
