"""Archives: identified by their hash, and unpacked as if they were hostile."""

from __future__ import annotations

import errno
import logging
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from gzip import BadGzipFile, GzipFile
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from etude.config import ArchiveCorpus
from etude.errors import UserError
from etude.storage import hash_file, read_json, write_json

BLOCK = 2**20
NO_ARCHIVE = "this is no archive: neither .zip nor .tar nor .tar.gz"
LOOK = "look at it; unpacked by hand it can be used as `source: folder`"
# Music does not shrink to a two-hundredth: a MIDI file to a fifth, silence in a WAV is rare.
MAX_RATIO = 200
ALWAYS_ALLOWED = 64 * 2**20  # bytes that even a tiny archive may hold

# What the readers of archives raise on damaged bytes, and on names that are not UTF-8.
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, ValueError, struct.error),
)

log = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------ pinning


def verify_archive(settings: ArchiveCorpus, archive: Path, pins: Path) -> str:
    """Compare with the configured hash, or with that of the first download.

    Returns:
        the hash, for `pin` once the archive has proved usable.

    Raises:
        UserError: it is not an archive, or a different one.
    """
    archive_kind(archive, settings.url)
    found, pinned = hash_file(archive), _pinned(settings.url, pins)
    wanted = settings.sha256 or pinned
    if wanted and wanted != found:
        raise UserError(
            "the archive is not the one that was expected",
            code="archive-hash-differs",
            where=settings.url,
            why=f"its sha256 is {found}, "
            + (f"configured is {wanted}" if settings.sha256 else f"at first it was {wanted}"),
            do="set the corpus's `sha256` to the new hash"
            if settings.sha256
            else f"if you trust the new one, delete {pins} or set the corpus's `sha256`",
        )
    return found


def pin(settings: ArchiveCorpus, found: str, pins: Path) -> None:
    """Remember the hash of an archive, so that another one at its address is noticed."""
    if found != _pinned(settings.url, pins):
        write_json(pins, {"url": settings.url, "sha256": found})
        log.info("sha256 of the archive: %s (pinned in %s)", found, pins.name)


def _pinned(url: str, pins: Path) -> str | None:
    """The hash of the first download, if it was from this address."""
    try:
        note = read_json(pins)
        return note["sha256"] if note["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---------------------------------------------------------------------------------- unpacking


def unpack(archive: Path, folder: Path, name: str) -> int:
    """Write the files of an archive into a folder; a single folder around everything is removed.

    Links and devices are left out with a warning.

    Args:
        archive: a .zip, .tar or .tar.gz, known by its bytes.
        folder: empty.
        name: of the archive, for messages.

    Returns:
        how many files were written.

    Raises:
        UserError: it is not an archive, it is damaged, a member would be written elsewhere, or it
            unpacks to more than music can.
    """
    limit = ALWAYS_ALLOWED + MAX_RATIO * archive.stat().st_size
    writer = _Writer(folder, name, limit)
    _unpack(archive, name, writer)
    if writer.left_out:
        log.warning("%d links or devices in the archive were left out", writer.left_out)
    _lift(folder)
    return writer.count


def _unpack(archive: Path, name: str, writer: _Writer) -> None:
    try:
        kind = archive_kind(archive, name)
        if kind == "zip":
            _unpack_zip(archive, writer)
        else:
            _unpack_tar(archive, writer, kind == "gzip")
    except (*BROKEN, NotImplementedError, RuntimeError, MemoryError) as error:  # or a password
        raise UserError(
            "the archive is broken", code="archive-broken", where=name, why=str(error), do=LOOK
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            "a file of the archive cannot be written",
            code="archive-not-writable",
            where=name,
            why=str(error),
            do=LOOK,
        ) from None


class _Writer:
    """Writes members below a folder, and counts."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self.folder, self.name, self.limit = folder, name, limit
        self.count = self.left_out = self.written = 0

    def write(self, member: str, source: Any) -> None:
        """Write what a stream holds as a member.

        Raises:
            UserError: the member's name leads out of the folder.
        """
        path = self._place(member)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            shutil.copyfileobj(source, target, BLOCK)
        self.count += 1

    def add(self, size: int) -> None:
        """Count unpacked bytes.

        Raises:
            UserError: there are more than is plausible.
        """
        self.written += size
        if self.written > self.limit:
            why = f"it unpacks to more than {self.limit >> 20} MB, {MAX_RATIO} times its size"
            raise UserError(
                "the archive may be a decompression bomb",
                code="archive-bomb",
                where=self.name,
                why=why,
                do=LOOK,
            )

    def _place(self, member: str) -> Path | None:
        """Where a member goes; None for what is not needed (macOS's folders)."""
        text = member.replace("\\", "/")
        path = PurePosixPath(text)
        outside = path.is_absolute() or ".." in path.parts or "\0" in text or not path.parts
        if outside:
            raise UserError(
                "a member of the archive would be written elsewhere",
                code="archive-leads-elsewhere",
                where=self.name,
                why=repr(member),
                do=LOOK,
            )
        return None if path.parts[0] == "__MACOSX" else self.folder / path


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in tqdm(file.infolist(), "unpack", unit="file", mininterval=1):
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                writer.left_out += 1
                continue
            with file.open(member) as source:
                writer.write(member.filename, _Counted(source, writer))


def _unpack_tar(archive: Path, writer: _Writer, compressed: bool) -> None:
    with archive.open("rb") as raw:
        # Counted before tarfile sees it: long names and headers can be bombs too.
        stream = _Counted(GzipFile(fileobj=raw) if compressed else raw, writer)
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as file:  # type: ignore[call-overload]
            for member in tqdm(file, "unpack", unit="file", mininterval=1):
                if member.isdir():
                    continue
                source = file.extractfile(member) if member.isreg() else None
                if source is None:
                    writer.left_out += 1
                    continue
                writer.write(member.name, source)


class _Counted:
    """A stream whose bytes count against the limit."""

    def __init__(self, stream: Any, writer: _Writer) -> None:
        self._stream, self._writer = stream, writer

    def read(self, size: int) -> bytes:
        block: bytes = self._stream.read(size)
        self._writer.add(len(block))
        return block


def archive_kind(archive: Path, name: str) -> str:
    """`zip`, `gzip` or `tar` by the first bytes.

    Raises:
        UserError: it is a web page, or something else.
    """
    with archive.open("rb") as file:
        head = file.read(512)
    if head[:2] == b"PK":
        return "zip"
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[257:262] == b"ustar":
        return "tar"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        why = "it is a web page: often one that asks to log in or to confirm a download"
        raise UserError(NO_ARCHIVE, code="not-an-archive", where=name, why=why, do=LOOK)
    why = "it is empty" if not head else f"it begins with {head[:8]!r}"
    raise UserError(NO_ARCHIVE, code="not-an-archive", where=name, why=why, do=LOOK)


def _lift(folder: Path) -> None:
    """While everything is in one folder, move its content up: metadata.csv belongs in the root."""
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        around = inside[0].rename(folder.with_name(f"{folder.name}.lift"))
        for entry in around.iterdir():
            shutil.move(os.fspath(entry), folder)
        around.rmdir()
