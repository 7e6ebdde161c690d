"""What a corpus is made from, as the workflow knows it before anything runs.

Read when Snakemake parses the workflow: standard library, pydantic and yaml only.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from etude.config import ArchiveCorpus, Corpus, CorpusBase, Music21Corpus, OwnCorpus
from etude.errors import UserError


def local_path(url: str) -> Path | None:
    """The path that an archive's `url` is; None where it is an address."""
    path = os.path.expanduser(url)  # noqa: PTH111 (an unknown ~user stays as it is)
    # Not Path.is_file, which raises on names that are too long.
    return Path(path) if os.path.isfile(path) or not urlsplit(url).scheme else None  # noqa: PTH113


def archive_file(settings: Corpus) -> list[str]:
    """The corpus's archive where that is a file of the user's, as a rule's input; else nothing."""
    path = local_path(settings.url) if isinstance(settings, ArchiveCorpus) else None
    return [str(path)] if path else []


def soundfont_file(settings: CorpusBase) -> list[str]:
    """The user's own SoundFont as a rule's input; nothing where it is the default one."""
    path = settings.render.soundfont
    return [str(path)] if path else []


def fetch_params(settings: Corpus) -> str:
    """What decides what is fetched. `limit` spares exports; an archive comes whole."""
    if isinstance(settings, Music21Corpus):
        return settings.params("source", "scores", "program", "limit")
    if isinstance(settings, OwnCorpus):
        return settings.params("source", "options")
    return settings.params("source", "url", "sha256")


def check_files(settings: Corpus) -> None:
    """See that the files which config names are there.

    Raises:
        UserError: the local archive or the SoundFont is missing.
    """
    named = [("archive", "url", path) for path in archive_file(settings)]
    named += [("SoundFont", "render.soundfont", path) for path in soundfont_file(settings)]
    for what, key, path in named:
        if not Path(path).is_file():
            raise UserError(
                f"the {what} of a corpus is not there",
                where=str(Path(path).absolute()),
                why="it is a folder" if Path(path).is_dir() else "there is no such file",
                do=f"check the corpus's `{key}` in the configuration",
            )
