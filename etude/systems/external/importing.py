"""Clips that somebody else made, brought into the form of a clip set.

What they were asked to be is in a conditions.csv beside them, if anywhere
(etude.clips.conditions_table).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etude.audio.files import AudioError, read_audio
from etude.audio.recordings import summarise
from etude.clips.clip import Clip
from etude.clips.conditions_table import FILE, Conditions, read_conditions
from etude.clips.writing import IMPORTED, write_clips
from etude.corpus.scan import AUDIO_SUFFIXES, MIDI_SUFFIXES, list_files, music_kind, printable
from etude.errors import UserError
from etude.midi.notes import MidiError, read_midi
from etude.midi.render import play_notes
from etude.storage import read_csv
from etude.systems.base import Parts

VERSION = 3  # raised when the clip sets change

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
    clips = _read(source, rate, seconds, rejected, read_conditions(source, list_files(source)))
    tables = {"rejected.csv": (REJECTED, rejected)}
    count = write_clips(clips, folder, rate, IMPORTED, maker=str(source), tables=tables)
    log.info("%d files left out (rejected.csv)", len(rejected))
    return count


def import_notes(source: Path, parts: Parts, seconds: float, folder: Path) -> int:
    """Read every MIDI file of a folder (any depth) into a clip set with notes.

    A file is one clip, of which metrics hear `seconds`. It is played as the corpus is, or sounds as
    the recording of the same name beside it does.

    Raises:
        UserError: the folder holds no MIDI that can be read, or the corpus has no notes to compare
            them with.
    """
    assert parts.corpus is not None
    assert parts.pieces is not None
    rows = [row for row in read_csv(parts.pieces) if row["status"] == "kept"]
    if rows and not any(row["kind"] == "midi" for row in rows):
        raise UserError(
            "MIDI cannot be compared with a corpus of recordings",
            where=str(source),
            why="played by a SoundFont, any music sounds unlike a recording, and the corpus has no "
            "notes",
            do="name a corpus of MIDI, or leave out `notes: true` and give recordings of the clips",
        )
    rejected: list[dict[str, Any]] = []
    clips = _read_notes(source, parts, seconds, rejected)
    tables = {"rejected.csv": (REJECTED, rejected)}
    rate = parts.corpus.render.rate
    count = write_clips(clips, folder, rate, IMPORTED, maker=str(source), notes=True, tables=tables)
    log.info("%d files left out (rejected.csv)", len(rejected))
    return count


def _read_notes(
    source: Path, parts: Parts, seconds: float, rejected: list[dict[str, Any]]
) -> Iterator[Clip]:
    """A clip for each MIDI file; files without one are added to `rejected`."""
    assert parts.corpus is not None
    names, found = list(list_files(source)), False
    conditions = read_conditions(source, names)
    sounds = {_stem(name): name for name in names if music_kind(name) == "audio"}
    stems = {_stem(name) for name in names if music_kind(name) == "midi"}
    rate = parts.corpus.render.rate
    for path in names:
        name = printable(path)
        if music_kind(path) != "midi":
            if path != FILE and _stem(path) not in stems:
                rejected.append({"path": name, "reason": "no MIDI of this name"})
            continue
        try:
            table, data = read_midi(source / path), (source / path).read_bytes()
            if (sound := sounds.get(_stem(path))) is not None:
                wave = read_audio(source / sound, rate, upsample=True)
            else:
                wave = play_notes(table, parts.corpus, midi=data)
        except (MidiError, AudioError) as error:
            rejected.append({"path": name, "reason": str(error)})
            continue
        if not len(table):
            rejected.append({"path": name, "reason": "no_notes"})
            continue
        found = True
        row = {"seed": 0, "draw": 0, "prime_seconds": "0.000", "heard_seconds": f"{seconds:g}"}
        yield Clip(wave, row | {"source": name}, table, conditions.get(path, {}), midi=data)
    if not found:
        raise UserError(
            "no clip can be read",
            where=str(source),
            why=f"{len(rejected)} files, none of them MIDI with notes",
            do=f"put clips there, of these kinds: {' '.join(sorted(MIDI_SUFFIXES))}",
        )


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _read(
    source: Path, rate: int, seconds: float, rejected: list[dict[str, Any]], conditions: Conditions
) -> Iterator[Clip]:
    """The clips of a folder; files without any are added to `rejected`."""
    found, length, midi = False, round(seconds * rate), 0
    for path in list_files(source):
        name, suffix = printable(path), Path(path).suffix
        midi += music_kind(path) == "midi"
        if path == FILE:
            continue
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
            yield Clip(wave[start : start + length], row, condition=conditions.get(path, {}))
    if not found:
        raise UserError(
            "no clip can be read",
            where=str(source),
            why=f"{len(rejected)} files, none of them audio that can be decoded",
            do="write `notes: true` beside `clips`: these are MIDI"
            if midi
            else f"put clips there, of these kinds: {' '.join(sorted(AUDIO_SUFFIXES))}",
        )
