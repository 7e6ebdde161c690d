"""What a corpus is made from, as far as the workflow knows before anything runs.

Read when Snakemake parses the workflow: standard library, pydantic and yaml only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from etude import plugins
from etude.config import (
    ArchiveCorpus,
    Corpus,
    CorpusBase,
    FolderCorpus,
    Music21Corpus,
    PluginCorpus,
)
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
    to_come = settings.bring is not None and path is not None and not path.is_file()
    return [str(path)] if path and not to_come else []


def read_where_they_lie(settings: CorpusBase) -> list[Path]:
    """The user's own files and folders that music comes from, which may change during a run.

    Of a user's source those that its class names: `reads = ("folder",)` says which `options` are
    paths.

    Raises:
        UserError: `reads` is not written out in the class.
    """
    if isinstance(settings, FolderCorpus):
        return [settings.path]
    if not isinstance(settings, PluginCorpus):
        return []
    options = as_names(plugins.literal(settings.source, "reads"))
    return [Path(str(settings.options[n])).expanduser() for n in options if settings.options.get(n)]


def as_names(reads: Any) -> list[str]:
    """The options that the `reads` of a class names; one alone needs no tuple."""
    return [reads] if isinstance(reads, str) else list(reads or ())


def to_bring(settings: Corpus) -> list[Path]:
    """What a corpus with `bring` still lacks: a folder that is not there or empty, a SoundFont."""
    if settings.bring is None:
        return []
    lacking = [path for path in read_where_they_lie(settings) if not _is_filled(path)]
    font = settings.render.soundfont
    return [*lacking, *([font] if font and not font.is_file() else [])]


def _is_filled(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def bring_error(what: str, paths: list[Path], bring: str) -> UserError:
    """What a user has to bring by hand."""
    return UserError(
        f"{what} has to be brought by hand",
        code="bring-by-hand",
        where=", ".join(map(str, paths)),
        why="it is not there yet, and no program can fetch it",
        do=bring.strip(),
    )


def is_fetched(settings: CorpusBase) -> bool:
    """Whether a corpus is read from a folder of Étude's; else from the user's own, as it lies."""
    return not isinstance(settings, FolderCorpus) or settings.annotations is not None


def scanned_as(settings: CorpusBase) -> tuple[int, int | None, str]:
    """Shards, limit and table of a user's own folder, for `scan.digests`: whole where copied."""
    if is_fetched(settings):
        return 1, None, settings.metadata
    return settings.shards, settings.limit, settings.metadata


def fetch_params(settings: Corpus) -> str:
    """What decides what is fetched. `limit` spares exports; an archive comes whole.

    The place of a user's folder is not part of it: its content is.
    """
    annotated = ("annotations", "metadata") if settings.annotations else ()
    if isinstance(settings, Music21Corpus):
        return settings.params(
            *("source", "scores", "program", "programs", "renditions", "vary", "limit"), *annotated
        )
    if isinstance(settings, PluginCorpus):
        return settings.params("source", "options", *annotated)
    if isinstance(settings, FolderCorpus):
        return settings.params("source", *annotated)
    return settings.params("source", "url", "sha256", *annotated)


def check_files(settings: Corpus) -> None:
    """See that the files and folders which config names are there.

    Raises:
        UserError: the folder, the local archive or the SoundFont is missing.
    """
    named = [("archive", "url", path) for path in archive_file(settings)]
    named += [("SoundFont", "render.soundfont", path) for path in soundfont_file(settings)]
    for what, key, path in named:
        if not Path(path).is_file():
            raise UserError(
                f"the {what} of a corpus is not there",
                code="file-not-found",
                where=str(Path(path).absolute()),
                why="it is a folder" if Path(path).is_dir() else "there is no such file",
                do=f"check the corpus's `{key}` in the configuration",
            )
    lacking = to_bring(settings)  # what is to be brought may be missing as yet
    for place in read_where_they_lie(settings):
        if place not in lacking and not place.exists():
            raise UserError(
                "the folder of a corpus cannot be read",
                code="unreadable-folder",
                where=str(place.absolute()),
                why="there is no such folder",
                do="check the corpus's `path` (of a source of your own, its `options`) in the "
                "configuration",
            )
