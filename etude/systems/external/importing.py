"""Clips that somebody else made, brought into the form of a clip set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from etude.audio.files import AudioError, read_audio, write_wav
from etude.audio.recordings import summarise
from etude.corpus.scan import AUDIO_SUFFIXES, list_files, printable
from etude.errors import UserError
from etude.storage import atomic_directory, write_csv
from etude.systems.audiolm.player import COLUMNS

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
    rows: list[dict[str, Any]] = []
    rejected: list[dict[str, str]] = []
    with atomic_directory(folder) as temporary:
        for path in list_files(source):
            name = printable(path)
            if Path(path).suffix.lower() not in AUDIO_SUFFIXES:
                suffix = printable(Path(path).suffix)
                rejected.append({"path": name, "reason": f"not audio: {suffix}"})
                continue
            try:
                summarise(source / path)  # whole, and a sound, by the rules for a corpus
                wave = read_audio(source / path, rate, upsample=True)
            except AudioError as error:
                rejected.append({"path": name, "reason": error.reason})
                continue
            length = round(seconds * rate)
            for start in range(0, max(len(wave) - length, 0) + 1, length):
                part, clip = wave[start : start + length], f"clip-{len(rows):04d}"
                write_wav(temporary / f"{clip}.wav", part, rate)
                row = {"clip": clip, "file": f"{clip}.wav", "seconds": f"{len(part) / rate:.3f}"}
                rows.append({**row, "seed": 0, "draw": 0, "prime_seconds": "0.000", "source": name})
        write_csv(temporary / "clips.csv", [*COLUMNS, "source"], rows)
        write_csv(temporary / "rejected.csv", REJECTED, rejected)
        if not rows:
            raise UserError(
                "no clip can be read",
                where=str(source),
                why=f"{len(rejected)} files, none of them audio that can be decoded",
                do=f"put clips there, of these kinds: {' '.join(sorted(AUDIO_SUFFIXES))}",
            )
    log.info("%d clips, %d files left out (rejected.csv)", len(rows), len(rejected))
    return len(rows)
