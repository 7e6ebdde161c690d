"""The files of a corpus folder: names, shards and digests; only small files are read.

Read when Snakemake parses the workflow, so: standard library only. A piece is known by the
SHA-256 of its path relative to the root, so that neither a moved root nor an added file changes
the shard or the name of any other piece.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from etude.errors import UserError

MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi"})
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff"})
# Music all the same, in containers that libsndfile does not open.
UNREAD_SUFFIXES = frozenset({".m4a", ".aac", ".mp4", ".wma", ".webm", ".mka", ".ape", ".wv"})
METADATA = "metadata.csv"
REFUSED = ".refused.csv"  # path and reason of what a user's source could not provide
SLUG_LENGTH = 60
# Up to here a file is known by its bytes, beyond by its size and time: nearly all MIDI, and no
# recording of hours, which would be slow to read at every start of the workflow.
KNOWN_BY_BYTES = 2**20
READ_AT_MOST = 50_000  # files of a corpus, in order; a million on a cold disk would take minutes

log = logging.getLogger(__name__)


def list_files(root: Path | str, passed: Counter[str] | None = None) -> Iterator[str]:
    """Relative posix paths of all files below `root`, sorted; hidden files are left out.

    Links are followed; a folder that is reached twice (a loop, two links) is listed once.

    Args:
        passed: gets the counts of what is passed over, by kind.

    Raises:
        UserError: `root` is missing or cannot be read.
    """
    for relative, _ in _walk(Path(root), Counter() if passed is None else passed):
        yield relative


def music_kind(relative: str) -> str:
    """`midi`, `audio`, or an empty string for anything else, by the suffix."""
    suffix = PurePosixPath(relative).suffix.lower()
    return "midi" if suffix in MIDI_SUFFIXES else "audio" if suffix in AUDIO_SUFFIXES else ""


def is_unread(relative: str) -> bool:
    """Whether a file is a recording of a kind that cannot be read here."""
    return PurePosixPath(relative).suffix.lower() in UNREAD_SUFFIXES


def path_hash(relative: str) -> str:
    """SHA-256 of a relative path, in hex; names that are no valid UTF-8 keep their bytes."""
    return hashlib.sha256(_bytes(relative)).hexdigest()


def shard_of(relative: str, shards: int) -> int:
    """The shard of a piece: it does not depend on what else is in the corpus."""
    return int(path_hash(relative), 16) % shards


def piece_id(relative: str) -> str:
    """A readable name that is unique: the end of the path as a slug, then 8 digits of its hash."""
    stem = os.path.splitext(relative)[0]  # noqa: PTH122 (surrogates and trailing dots survive)
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_only)[-SLUG_LENGTH:].strip("-")
    return f"{slug or 'piece'}-{path_hash(relative)[:8]}"


def printable(relative: str) -> str:
    """A path for tables: control characters, and bytes that are not UTF-8, are escaped."""
    text = _bytes(relative).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def choose_files(relatives: Iterable[str], limit: int | None) -> list[str]:
    """All paths, or a fixed choice of `limit` of them (the first by hash), sorted."""
    if limit is None:
        return sorted(relatives)
    return sorted(heapq.nsmallest(limit, relatives, key=path_hash))


def corpus_files(
    root: Path | str,
    limit: int | None = None,
    metadata: str = METADATA,
    passed: Counter[str] | None = None,
    out: Collection[str] = (),
) -> list[str]:
    """The input files of a corpus, sorted; with a limit the music files that it chooses.

    Args:
        passed: as of `list_files`; also counts what the limit leaves out.
        out: relative paths that are passed over (etude.corpus.withdrawn).
    """
    files = [relative for relative in list_files(root, passed) if relative != metadata]
    if out:
        if passed is not None:
            passed["withdrawn files"] += sum(music_kind(f) != "" for f in files if f in out)
        files = [relative for relative in files if relative not in out]
    if limit is None:
        return files
    music = [relative for relative in files if music_kind(relative)]
    chosen = choose_files(music, limit)
    if passed is not None:
        passed[f"music beyond `limit: {limit}`"] += len(music) - len(chosen)
        passed["other files"] += len(files) - len(music)
    return chosen


def describe_passed(passed: Counter[str]) -> str:
    """What was passed over, in words; empty if that is nothing."""
    return ", ".join(f"{what} ({count})" for what, count in sorted(passed.items()) if count)


def digests(
    root: Path | str,
    shards: int,
    limit: int | None = None,
    metadata: str = METADATA,
    out: Collection[str] = (),
) -> list[str]:
    """One digest per shard over its files: names and bytes; of large ones sizes and times.

    The same holds for all files after the first READ_AT_MOST: every start of a workflow reads them.
    The table about the pieces is in every digest, since its columns are carried into every shard.

    Raises:
        UserError: `root` is missing or cannot be read.
    """
    hashes = [hashlib.sha256() for _ in range(shards)]
    chosen = None if limit is None else set(corpus_files(root, limit, metadata, out=out))
    read = 0
    for relative, entry in _walk(Path(root), Counter()):
        if relative == metadata:
            targets = hashes
        elif relative not in out and (chosen is None or relative in chosen):
            targets = [hashes[shard_of(relative, shards)]]
        else:
            continue
        stamp = _stamp(relative, entry, by_bytes=read < READ_AT_MOST)
        read += 1
        for target in targets:
            target.update(stamp)
    return [target.hexdigest()[:16] for target in hashes]


def digest_of(paths: Iterable[Path]) -> str:
    """One digest of files and folders, wherever they lie: as `digests`, of all that is in them.

    Raises:
        UserError: one is missing or cannot be read.
    """
    found = hashlib.sha256()
    for path in paths:
        if path.is_file():
            found.update(_stamp("", path, by_bytes=True))
        else:
            found.update(digests(path, 1)[0].encode())
    return found.hexdigest()[:16]


def _walk(root: Path, passed: Counter[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files in the order of their relative paths; each real folder once."""
    try:
        status = root.stat()
        next(os.scandir(root), None)
    except OSError as error:
        raise UserError(
            "the folder of a corpus cannot be read",
            code="unreadable-folder",
            where=str(root.absolute()),
            why=error.strerror or str(error),
            do="check the corpus's `path` (of a source of your own, its `options`) in the "
            "configuration; it must be a folder",
        ) from None
    yield from _walk_folder(str(root), "", {(status.st_dev, status.st_ino)}, passed)


def _walk_folder(
    folder: str, prefix: str, seen: set[tuple[int, int]], passed: Counter[str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as listing:
            entries = [(_is_folder(entry), entry) for entry in listing]
    except OSError as error:
        log.warning("left out, since it cannot be read: %s (%s)", printable(prefix), error.strerror)
        passed["folders that cannot be read"] += 1
        return
    # A folder sorts as "name/", so that the paths come out in the order of whole strings.
    for is_folder, entry in sorted(entries, key=lambda e: e[1].name + ("/" if e[0] else "")):
        relative = prefix + entry.name
        if entry.name.startswith("."):
            passed["hidden folders" if is_folder else "hidden files"] += 1
        elif is_folder:
            status = entry.stat()
            if (status.st_dev, status.st_ino) in seen:
                passed["links to folders that are read already"] += 1
                continue
            seen.add((status.st_dev, status.st_ino))
            yield from _walk_folder(entry.path, relative + "/", seen, passed)
        elif _is_file(entry):
            yield relative, entry
        else:
            passed["pipes, sockets or devices"] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Files and dead links (rows with a reason); no pipes or sockets, which would block."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True


def _stamp(relative: str, entry: os.DirEntry[str] | Path, *, by_bytes: bool) -> bytes:
    """What changes when the file does."""
    try:
        status = entry.stat()
    except OSError:
        return b"%s\0-\n" % _bytes(relative)
    known = b"%d %d" % (status.st_size, status.st_mtime_ns)
    if by_bytes and status.st_size <= KNOWN_BY_BYTES:
        with suppress(OSError):
            known = hashlib.sha256(Path(entry).read_bytes()).digest()
    return b"%s\0%s\n" % (_bytes(relative), known)


def _bytes(relative: str) -> bytes:
    return relative.encode("utf-8", "surrogateescape")
