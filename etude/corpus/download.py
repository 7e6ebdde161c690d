"""Files from the network: complete or not at all."""

from __future__ import annotations

import errno
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tqdm import tqdm

from etude.config import ArchiveCorpus
from etude.errors import UserError
from etude.workflow.sources import local_path

ATTEMPTS = 5
TIMEOUT_S = 60.0
BLOCK = 2**20

log = logging.getLogger(__name__)


@contextmanager
def downloaded_archive(settings: ArchiveCorpus, folder: Path) -> Iterator[Path]:
    """The archive as a local file; a downloaded one is deleted afterwards.

    Raises:
        UserError: it cannot be downloaded.
    """
    path, scheme = local_path(settings.url), urllib.parse.urlsplit(settings.url).scheme
    if path and path.is_file():
        yield path
    elif scheme == "https" or (scheme == "http" and settings.sha256):
        target = folder.with_name(f".{folder.name}.download.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(settings.url, target, insecure=settings.sha256 is not None)
            yield target
        finally:
            target.unlink(missing_ok=True)
    else:
        raise UserError(
            "the archive is not available" if scheme else "the archive is not there",
            code="archive-not-found",
            where=str(path.absolute()) if path else settings.url,
            why=f"{scheme} is not https" if scheme else "there is no such file",
            do="give a path, an https address, or for http the archive's `sha256` too",
        )


def download(url: str, target: Path, insecure: bool = False) -> None:
    """Write the file at an address to `target`; continues where a connection broke.

    Args:
        url: where it is.
        target: written, or overwritten.
        insecure: whether a redirection may lead away from https.

    Raises:
        UserError: after five attempts, or at once if the server refuses.
    """
    work = _Download(url, target, insecure)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            work.go_on()
            return
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 416, 425, 429):
                break
            if error.code == 416:  # nothing left to send: our part is of another file
                work.restart()
        except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            problem = str(getattr(error, "reason", error))
        log.warning("the download broke off (%s), attempt %d of %d", problem, attempt, ATTEMPTS)
        time.sleep(min(30, 2**attempt))
    raise UserError(
        "the archive could not be downloaded",
        code="download-failed",
        where=url,
        why=problem,
        do="check the address and the connection; or download it yourself and give its path",
    )


class _Download:
    """A file that arrives in one or several responses."""

    def __init__(self, url: str, target: Path, insecure: bool) -> None:
        self.url, self.target, self.insecure = url, target, insecure
        self.restart()

    def restart(self) -> None:
        """Forget what has arrived."""
        self.target.unlink(missing_ok=True)
        self.validator = ""  # the server's name for this version of the file

    def go_on(self) -> None:
        """Append what is missing, if the server still has the same file; otherwise begin again.

        Raises:
            UserError: the server leads to an address that is not protected.
        """
        have = self.target.stat().st_size if self.target.exists() else 0
        headers = {"User-Agent": "etude", "Accept-Encoding": "identity"}
        if have and self.validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": self.validator}
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 (https or pinned)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            if not self.insecure and not answer.geturl().startswith("https:"):
                raise UserError(
                    "the download is refused: the server leads away from https",
                    code="redirect-without-https",
                    where=self.url,
                    why=f"to {answer.geturl()}",
                    do="give the archive's `sha256`, or download it yourself and give its path",
                )
            resumed = answer.status == 206
            names = (answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
            self.validator = next((n for n in names if n and not n.startswith("W/")), "")
            length = answer.headers.get("Content-Length")
            total = int(length) + have * resumed if length else None
            size = self._append(answer, resumed, total)
        if total is not None and size < total:
            raise ConnectionError(f"{size} of {total} bytes came")

    def _append(self, answer: Any, resumed: bool, total: int | None) -> int:
        with (
            self.target.open("ab" if resumed else "wb") as file,
            tqdm(total=total, initial=file.tell(), unit="B", unit_scale=True, mininterval=1) as bar,
        ):
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
            return file.tell()
