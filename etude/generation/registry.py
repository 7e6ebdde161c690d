"""Where this folder's experiments were exported to, so that a withdrawal finds them.

results/ownership/exports.json    a list; it stays in this folder, and no export has it
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from etude.config import Config, CorpusBase
from etude.corpus.withdrawn import FOLDER, RESULTS, place_of, refuse_if_pending
from etude.errors import UserError
from etude.generation.manifest import ABOUT
from etude.storage import read_json, write_json
from etude.workflow.lineage import corpora_behind

REGISTRY = f"{FOLDER}/exports.json"
UNHASHED = ("README.md", "config.yaml", ABOUT)  # of an export, besides what plays
INDEX = "near"  # its folder of the training music's index


def exports(results: Path = RESULTS) -> list[dict[str, Any]]:
    """The exports on record; empty if there is no record."""
    try:
        return [dict(entry) for entry in read_json(results / REGISTRY)]
    except (OSError, ValueError, TypeError):
        return []


def register(settings: Config, name: str, seed: int, folder: Path, results: Path = RESULTS) -> None:
    """Note where an experiment was exported to; an older note about that folder is replaced."""
    tables = {c: place_of(settings.corpora[c]) for c in corpora_behind(settings, name)}
    places = {corpus: str(path.absolute()) if path else "" for corpus, path in tables.items()}
    entry = {
        "folder": str(folder.absolute()),
        "experiment": name,
        "train_seed": seed,
        "corpora": places,
    }
    others = [known for known in exports(results) if known.get("folder") != entry["folder"]]
    write_json(results / REGISTRY, [*others, entry])


def forget(folders: Collection[str], results: Path = RESULTS) -> None:
    """Take folders off the record."""
    left = [entry for entry in exports(results) if entry.get("folder") not in folders]
    write_json(results / REGISTRY, left)


def knows(entry: dict[str, Any], hashes: Collection[str]) -> bool | None:
    """Whether an export knows one of some pieces; None: it is elsewhere, or does not say."""
    try:
        pieces = read_json(Path(entry["folder"]) / ABOUT).get("pieces")
    except (OSError, ValueError, AttributeError):
        return None
    return None if pieces is None or not hashes else not set(hashes).isdisjoint(pieces)


def drop(folder: Path) -> list[Path]:
    """Delete what `export` wrote; gives back what else lies there, which stays."""
    about = read_json(folder / ABOUT)
    shutil.rmtree(folder / INDEX, ignore_errors=True)
    for name in about.get("sha256", {}):
        if ".." not in Path(name).parts and not Path(name).is_absolute():
            (folder / name).unlink(missing_ok=True)
    for name in UNHASHED:  # export.json last: until then the folder can be known again
        (folder / name).unlink(missing_ok=True)
    left = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        with suppress(OSError):  # not empty
            path.rmdir()
    with suppress(OSError):
        folder.rmdir()
    return left


def refuse_withdrawn(folder: Path, results: Path = RESULTS) -> None:
    """See that no withdrawal waits that this export may know of.

    Raises:
        UserError: one does, as `refuse_if_pending`.
    """
    place = str(folder.absolute())
    for entry in (entry for entry in exports(results) if entry.get("folder") == place):
        tables = {c: Path(path) for c, path in entry.get("corpora", {}).items() if path}
        there = {c: CorpusBase(withdrawn=path) for c, path in tables.items() if path.is_file()}
        refuse_if_pending(there, results)


def refuse_known(folders: Sequence[Path], hashes: Collection[str]) -> None:
    """See that no export knows a withdrawn piece, wherever it came from.

    Raises:
        UserError: naming those that do.
    """
    wrong = [str(folder) for folder in folders if knows({"folder": folder}, hashes)]
    if wrong:
        raise UserError(
            f"{len(wrong)} exports know a piece that was withdrawn",
            code="export-knows-withdrawn",
            where=", ".join(wrong),
            why="their export.json has its hash among those that the model learned from",
            do="delete them, and export the model again once it was trained without the piece",
        )
