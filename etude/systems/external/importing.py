"""Clips that somebody else made, brought into the form of a clip set."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etude.audio.files import AudioError, read_audio
from etude.audio.recordings import summarise
from etude.clips.clip import Clip
from etude.clips.writing import IMPORTED, write_clips
from etude.corpus.scan import AUDIO_SUFFIXES, list_files, printable
from etude.errors import UserError

VERSION = 2  # raised when the clip sets change

log = logging.getLogger(__name__)
REJECTED = ["path", "reason"]


def import_clips(source: Path, rate: int, seconds: float, folder: Path) -> int:
    """Read every audio file of a folder (any depth) into a clip set at `rate`, mono.

    A longer file gives several clips of `seconds`, so that n counts the same amount of music in
    every row of a table; what is left at its end is not used. What cannot be read is listed in
    rejected.csv with its reason.

    Raises:
        UserError: when the folder holds no audio that can be read.
    """
    rejected: list[dict[str, Any]] = []
    clips = _read(source, rate, seconds, rejected)
    tables = {"rejected.csv": (REJECTED, rejected)}
    count = write_clips(clips, folder, rate, IMPORTED, maker=str(source), tables=tables)
    log.info("%d files left out (rejected.csv)", len(rejected))
    return count


def _read(
    source: Path, rate: int, seconds: float, rejected: list[dict[str, Any]]
) -> Iterator[Clip]:
    """The clips of a folder; files without any are added to `rejected`."""
    found, length = False, round(seconds * rate)
    for path in list_files(source):
        name, suffix = printable(path), Path(path).suffix
        if suffix.lower() not in AUDIO_SUFFIXES:
            rejected.append({"path": name, "reason": f"not audio: {printable(suffix)}"})
            continue
        try:
            summarise(source / path)  # whole, and a sound, by the rules for a corpus
            wave = read_audio(source / path, rate, upsample=True)
        except AudioError as error:
            rejected.append({"path": name, "reason": error.reason})
            continue
        for start in range(0, max(len(wave) - length, 0) + 1, length):
            found = True
            row = {"seed": 0, "draw": 0, "prime_seconds": "0.000", "source": name}
            yield Clip(wave[start : start + length], row)
    if not found:
        raise UserError(
            "no clip can be read",
            where=str(source),
            why=f"{len(rejected)} files, none of them audio that can be decoded",
            do=f"put clips there, of these kinds: {' '.join(sorted(AUDIO_SUFFIXES))}",
        )
