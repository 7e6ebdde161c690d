"""The ledger of VERSIONs: no code that decides results changes unnoticed.

docs/ledger.csv has a row for each label of etude/workflow/versions.py: its VERSION, and a hash of
the syntax trees of its module and of what that covers. A test compares it with the code. Whoever
changes such code raises the VERSION, or says in a line why no result changes:

    make ledger REASON="names only"

What a module covers: those modules of its own room (the folder below etude/; of a system, its
folder) that it imports, directly or through each other, and that have no VERSION of their own.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from etude.errors import UserError
from etude.workflow import versions

LEDGER = versions.PACKAGE.parent / "docs" / "ledger.csv"
COLUMNS = ("label", "version", "hash", "reason")


@dataclass(frozen=True)
class Row:
    """A label as it is in the code or in the ledger.

    Attributes:
        reason: why its code changed although its VERSION did not; usually empty.
    """

    label: str
    version: int
    hash: str
    reason: str = ""


def room(module: str) -> str:
    """The folder of a module: a system's own, otherwise the one below etude/."""
    folders = module.split("/")[:-1]
    return "/".join(folders[: 2 if module.startswith("systems/") else 1])


def covered(module: str) -> list[str]:
    """The modules without a VERSION that a module's own VERSION stands for, itself included."""
    found, waiting = {module}, [module]
    while waiting:
        for other in _imported(versions.module_text(waiting.pop())):
            if other in found or room(other) != room(module) or versions.number(other) is not None:
                continue
            found.add(other)
            waiting.append(other)
    return sorted(found)


@cache
def _imported(text: str) -> tuple[str, ...]:
    """The modules of Étude that code imports, at its top or in its functions."""
    return tuple(path for path in _names(text) if Path(versions.PACKAGE, f"{path}.py").is_file())


def _names(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        inside = (name for name in names if name.startswith("etude."))
        yield from (name.removeprefix("etude.").replace(".", "/") for name in inside)


def current() -> dict[str, Row]:
    """What the code says, by label."""
    found = {}
    for label, module in sorted(versions.modules().items()):
        trees = sorted(versions.tree_hash(versions.module_text(part)) for part in covered(module))
        code = hashlib.sha256("".join(trees).encode()).hexdigest()[:16]
        found[label] = Row(label, int(versions.numbers_of(label)[label]), code)
    return found


def read(path: Path = LEDGER) -> dict[str, Row]:
    """What the ledger says, by label."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {
            r["label"]: Row(r["label"], int(r["version"]), r["hash"], r["reason"]) for r in rows
        }


def ledger_differences(code: Mapping[str, Row], ledger: Mapping[str, Row]) -> list[str]:
    """How the ledger differs from the code, in a line per label; empty when it does not."""
    found = []
    for label in sorted(code.keys() | ledger.keys()):
        new, old = code.get(label), ledger.get(label)
        if new is None or old is None:
            found.append(f"{label}: {'not in the ledger' if old is None else 'no such label'}")
        elif new.version != old.version:
            found.append(f"{label}: VERSION {old.version} -> {new.version}")
        elif new.hash != old.hash:
            found.append(f"{label}: the code changed, VERSION {new.version} did not")
    return found


def updated(code: Mapping[str, Row], ledger: Mapping[str, Row], reason: str = "") -> list[Row]:
    """The ledger's rows as they should be, sorted by label.

    Raises:
        UserError: code changed without a VERSION, and no reason is stated.
    """
    rows = []
    for label, new in sorted(code.items()):
        old = ledger.get(label)
        if old is not None and (old.version, old.hash) == (new.version, new.hash):
            rows.append(old)
            continue
        if old is not None and old.version == new.version and not reason.strip():
            raise UserError(
                f"the code of {label!r} changed, and neither its VERSION nor a reason says so",
                code="change-without-version",
                where=f"etude/{versions.modules()[label]}.py, or a module that it covers",
                why="results that depend on it would not be made again",
                do="raise its VERSION where results change; else make ledger REASON='why not'",
            )
        raised = old is None or old.version != new.version
        rows.append(Row(label, new.version, new.hash, "" if raised else reason.strip()))
    return rows


def write(rows: list[Row], path: Path = LEDGER) -> None:
    """Write the ledger."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((r.label, r.version, r.hash, r.reason) for r in rows)


def main() -> None:
    """Write the ledger again, or say what is missing."""
    parser = argparse.ArgumentParser(description="write docs/ledger.csv")
    parser.add_argument("--reason", default="", help="why code changed and no VERSION did")
    code, ledger = current(), read()
    try:
        write(updated(code, ledger, parser.parse_args().reason))
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print("\n".join(ledger_differences(code, ledger)) or "the ledger is as the code is")


if __name__ == "__main__":
    main()
