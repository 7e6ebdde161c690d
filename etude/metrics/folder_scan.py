"""The audio of a user's folder: what each file is, and which files are the very same sound."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from etude.audio.files import AudioError
from etude.audio.recordings import Summary, summarise
from etude.corpus.scan import AUDIO_SUFFIXES, list_files, music_kind, printable
from etude.errors import UserError
from etude.metrics.folder_files import NO_MATCH

log = logging.getLogger(__name__)


@dataclass
class Folder:
    """The audio of a folder: what each readable file is, and why the others are not.

    `name` is what it is called, where its audio was made of something else.
    """

    path: Path
    files: dict[str, Summary]
    unreadable: list[str]
    name: str = ""

    def __str__(self) -> str:
        return self.name or str(self.path)

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file's own samples."""
        return {name: summary.samples_hash for name, summary in self.files.items()}


def look_through(folder: Path, shown: str = "") -> Folder:
    """Hash every audio file of a folder, of any depth, block by block.

    The hash is of the file's own samples, as decoded, at its own rate and channels: equal sound
    in WAV and FLAC has equal hashes.

    Raises:
        UserError: no audio can be read.
    """
    if not folder.is_dir():
        raise UserError(
            "there is no such folder" if not folder.exists() else "this is no folder",
            code="folder-not-found",
            where=str(folder),
            do="give the path of a folder with audio files",
        )
    found = Folder(folder, {}, [], shown)
    files = list(list_files(folder))
    names = [name for name in files if music_kind(name) == "audio"]
    if midi := sum(music_kind(name) == "midi" for name in files):
        log.warning("%s: %d MIDI files are left out; only audio is compared", folder, midi)
    for name in tqdm(names, desc=f"reading {folder.name}", unit="file", mininterval=1.0):
        try:
            found.files[name] = summarise(folder / name)
        except AudioError as error:
            found.unreadable.append(f"{printable(name)}: {error.reason}")
    if not found.files:
        why = f"{len(found.unreadable)} audio files are unreadable" if names else "there is none"
        raise UserError(
            "no audio can be read",
            code="no-audio",
            where=str(folder),
            why=why,
            do=f"give a folder with files of these kinds: {' '.join(sorted(AUDIO_SUFFIXES))}",
        )
    return found


def find_copies(real: dict[str, str], made: dict[str, str]) -> list[dict[str, str]]:
    """Each clip with the real files that have the very same samples; unmatched clips as well."""
    files: dict[str, list[str]] = {}
    for name, digest in real.items():
        files.setdefault(digest, []).append(printable(name))
    return [
        {
            "probe_filename": printable(name),
            "probe_hash": digest,
            "is_match": str(digest in files),
            "matched_dataset_files": ", ".join(files.get(digest, [])) or NO_MATCH,
        }
        for name, digest in made.items()
    ]
