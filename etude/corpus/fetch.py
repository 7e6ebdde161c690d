"""Music that is not in a folder yet: scores of music21, archives, a source of the user's."""

from __future__ import annotations

import csv
import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from etude import plugins
from etude.config import ArchiveCorpus, CorpusBase, Music21Corpus, PluginCorpus
from etude.corpus import scores
from etude.corpus.annotations import annotate
from etude.corpus.archive import pin, unpack, verify_archive
from etude.corpus.download import downloaded_archive
from etude.corpus.renditions import renditions
from etude.corpus.scan import METADATA, REFUSED, choose_files, list_files
from etude.corpus.tables import normal, read_table
from etude.corpus.withdrawn import find, forms, read_withdrawn
from etude.errors import UserError
from etude.pool import map_in_order
from etude.storage import atomic, atomic_directory, write_csv

VERSION = 2  # raised when the exported MIDI or what is unpacked changes

log = logging.getLogger(__name__)


def fetch(settings: CorpusBase, folder: Path, threads: int) -> None:
    """Fill the source folder of a corpus; it appears when it is whole.

    Raises:
        UserError: the archive cannot be downloaded, is not the pinned one, or is unsafe to unpack;
            the user's source is missing or brought nothing.
    """
    if settings.annotations is None:
        _fetch(settings, folder, threads)
        return
    raw = folder.with_name(f".{folder.name}.raw")
    try:
        own = getattr(settings, "path", None)
        if own is None:
            _fetch(settings, raw, threads)
        with atomic_directory(folder) as temporary:
            annotate(settings.annotations, settings.metadata, own or raw, temporary, threads)
            if (raw / REFUSED).is_file():
                shutil.copyfile(raw / REFUSED, temporary / REFUSED)
    finally:
        shutil.rmtree(raw, ignore_errors=True)


def prune(tables: CorpusBase, metadata: str, folder: Path) -> int:
    """Take withdrawn files out of a fetched folder, and out of its tables; how many there were.

    Args:
        tables: names the table of withdrawn files.
        metadata: the name of the table about the pieces.
    """
    if not (names := read_withdrawn(tables)):
        return 0
    gone = find(names, list_files(folder))
    for relative in gone:
        (folder / relative).unlink()
    for path in (folder / metadata, folder / REFUSED):
        if not path.is_file():
            continue
        table, _ = read_table(path)
        unsaid = forms([*names, *gone])
        kept = [row for row in table if not unsaid.intersection(map(normal, row))]
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(kept)
    return len(gone)


def _fetch(settings: CorpusBase, folder: Path, threads: int) -> None:
    if isinstance(settings, Music21Corpus):
        _export(settings, folder, threads)
    elif isinstance(settings, PluginCorpus):
        _fetch_own(settings, folder)
    elif isinstance(settings, ArchiveCorpus):
        _fetch_archive(settings, folder)


def _export(settings: Music21Corpus, folder: Path, threads: int) -> None:
    """Write one MIDI file per score, and metadata.csv with their titles.

    `limit` chooses before the work, as it would after it.
    """
    inside, names = scores.LISTS[settings.scores]
    targets = {r.target: r for name in names for r in renditions(settings, name)}
    chosen = choose_files(targets, settings.limit)
    root = scores.corpus_folder() / inside  # music21 is imported before workers are forked
    with atomic_directory(folder) as temporary:
        work = partial(scores.export_score, root, temporary)
        jobs = [targets[target] for target in chosen]
        for target in {Path(one).parent for one in chosen}:
            (temporary / target).mkdir(exist_ok=True)
        results = map_in_order(work, jobs, threads, title="export", unit="score", chunk=4)
        failed = [name for name in results if name]
        if failed:
            raise UserError(
                f"music21 could not export {len(failed)} scores",
                where=", ".join(failed[:5]),
                why="the list was made with the version of music21 in requirements/lock.txt",
                do="install that version (`make setup`)",
            )
        known = scores.titles()
        rows = ({"path": one, "title": known.get(Path(one).stem, "")} for one in chosen)
        write_csv(temporary / METADATA, ["path", "title"], rows)
    log.info("%d scores exported", len(jobs))


def _fetch_archive(settings: ArchiveCorpus, folder: Path) -> None:
    """Download or open the archive, check it against its pin, unpack it."""
    with downloaded_archive(settings, folder) as archive:
        pins = folder.with_name("archive.json")
        found = verify_archive(settings, archive, pins)
        with atomic_directory(folder) as temporary:
            count = unpack(archive, temporary, settings.url)
        pin(settings, found, pins)
    log.info("%d files unpacked", count)


def _fetch_own(settings: PluginCorpus, folder: Path) -> None:
    """Let a class of the user's fill the folder; what it refuses becomes rows with reasons."""
    source = plugins.instantiate(settings.source, settings.options, ("fetch",))
    with atomic_directory(folder) as temporary:
        refused = _call_own(source, settings.source, temporary)
        count = sum(1 for _ in list_files(temporary))
        if not count:
            few = "; ".join(f"{file}: {why}" for file, why in list(refused.items())[:3])
            raise UserError(
                f"{plugins.plugin_label(settings.source)} brought no files",
                where=str(plugins.module_file(settings.source)),
                why="its `fetch(folder)` ended and left the folder empty" + f" ({few})" * bool(few),
                do="write MIDI or audio files into the folder that `fetch` is given",
            )
        if refused:
            rows = ({"path": file, "reason": why} for file, why in sorted(refused.items()))
            write_csv(temporary / REFUSED, ["path", "reason"], rows)
    log.info("%d files from %s, %d refused", count, settings.source, len(refused))


def _call_own(source: Any, name: str, folder: Path) -> dict[str, str]:
    """Call the user's own `fetch`; gives the files that it refuses, each with its reason."""
    do = (
        "fix it there. It may return {file: reason} of what it cannot take, which becomes a row "
        "with that reason, while the others go on; else it returns nothing"
    )
    with plugins.blamed(name, "fetch", do):
        refused = dict(source.fetch(folder) or {})
    return {Path(path).as_posix(): str(why) or "no reason given" for path, why in refused.items()}
