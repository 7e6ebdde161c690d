"""Files that are either whole or not there: temporary name first, then rename."""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etude.errors import UserError

LEFTOVERS = ".*.part*"  # the temporary names below: .<name>.<pid>.part<suffix>
# What only writing meets: the user's disk, not the user's files.
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
FULL_BELOW = 2**16  # bytes free; the last block of a disk may be too small for any write


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes its place only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since libraries choose the format by it.
    temporary = path.with_name(f".{path.stem[:80]}.{os.getpid()}.part{path.suffix}")
    try:
        with _full_disk_by_name(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder; it takes the place of `path` only if the block succeeds."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # of a job that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with _full_disk_by_name(path):
            yield temporary
            for left in temporary.glob(LEFTOVERS):  # of workers that were killed
                left.unlink()
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _full_disk_by_name(path: Path) -> Iterator[None]:
    """Many libraries have no word for a full disk; here it becomes an OSError that has."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) in WRITE_ERRORS and getattr(error, "filename", None):
            raise
        names_no_space = os.strerror(errno.ENOSPC) in str(
            error
        )  # safetensors cleans up before it fails
        if not names_no_space and not _is_full(path.parent):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def _is_full(folder: Path) -> bool:
    try:
        free = os.statvfs(folder)
    except OSError:
        return False
    return free.f_bavail * free.f_frsize < FULL_BELOW or (free.f_files > 0 and not free.f_favail)


def check_folder(path: Path) -> None:
    """See that a folder is there or can be made.

    Raises:
        UserError: something else bears its name.
    """
    if path.is_symlink() and not path.exists():
        why = f"it is a link to {path.readlink()}, which is not there"
    elif path.exists() and not path.is_dir():
        why = "it is a file"
    else:
        return
    raise UserError(
        "the folder for results is none",
        where=str(path.absolute()),
        why=why,
        do="move it away, or work in another folder (--directory)",
    )


def check_place(path: Path | str) -> None:
    """See that something can be written at a path, before the work that it is for.

    Raises:
        UserError: a file stands where a folder would have to be, or nothing may be written there.
    """
    path = Path(path).absolute()
    folder = next(folder for folder in path.parents if os.path.lexists(folder))
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return
    raise UserError(
        "nothing can be written there",
        where=str(path),
        why=f"{folder} is {'write-protected' if folder.is_dir() else 'no folder'}",
        do="name another place",
    )


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, data: Any) -> None:
    """Write JSON atomically, keys sorted, so that equal data gives equal bytes."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path: Path | str, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as they come (flat memory), atomically; returns how many there were."""
    count = 0
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def read_csv(path: Path | str) -> Iterator[dict[str, str]]:
    """Read rows one by one."""
    csv.field_size_limit(2**31 - 1)  # a long piece's tune n-grams are one field
    with Path(path).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def embeddings_folder() -> Path:
    """Where embeddings of the user's files are kept if she names no other place."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "etude" / "embeddings"


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def visible_files(folder: Path | str) -> list[Path]:
    """The files of a folder in order, without hidden ones such as Snakemake's time stamp."""
    files = (file for file in Path(folder).iterdir() if file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def hash_folder(folder: Path | str) -> str:
    """SHA-256 over the names and bytes of a folder's visible files."""
    lines = [f"{file.name} {hash_file(file)}\n" for file in visible_files(folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
