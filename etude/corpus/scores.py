"""Scores of music21 as MIDI, with their bar lines, and what they are called."""

from __future__ import annotations

import io
import logging
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any

import mido

from etude.corpus.chorales import CHORALES, FOLDER
from etude.corpus.renditions import Rendition, varied
from etude.midi.bars import signature
from etude.storage import WRITE_ERRORS

LISTS = {"chorales": (FOLDER, CHORALES)}

log = logging.getLogger(__name__)


def corpus_folder() -> Path:
    """Where the installed package has its scores."""
    import music21

    return Path(music21.common.getCorpusFilePath())


def titles() -> dict[str, str]:
    """The first line of each chorale's text, by file name without suffix: `bwv66.6`.

    From music21's two lists of chorales, which know 324 of the 353; the later list wins. A title
    is of a text. Most texts have one tune, but some have several, and many tunes several texts.
    """
    from music21.corpus import chorales

    found: dict[str, str] = {}
    for known in (chorales.ChoraleList(), chorales.ChoraleListRKBWV()):
        found |= {f"bwv{number}": one["title"].strip() for number, one in known.byBWV.items()}
    return found


def export_score(root: Path, folder: Path, job: Rendition) -> str:
    """Write one score as MIDI; the name of the score if that fails.

    Args:
        root: where the scores are.
        folder: where the MIDI goes.
    """
    from music21 import converter, instrument
    from music21.exceptions21 import Music21Exception
    from music21.midi.translate import streamToMidiFile

    try:
        # Not from music21's cache of pickles: that lies in a folder which others can write to.
        score: Any = converter.parse(root / job.score, forceSource=True, storePickle=False)
        for part, program in zip(score.parts, cycle(job.programs), strict=False):
            for old in list(part.recurse().getElementsByClass(instrument.Instrument)):
                old.activeSite.remove(old)
            part.insert(0, instrument.instrumentFromMidiProgram(program))
        data = with_upbeat(streamToMidiFile(score).writestr(), upbeat(score))
        (folder / job.target).write_bytes(varied(data, job))
    except (Music21Exception, OSError, ValueError) as error:
        if getattr(error, "errno", None) in WRITE_ERRORS:
            raise
        log.warning("%s: %s", job.score, error)
        return job.score
    return ""


def upbeat(score: Any) -> Fraction:
    """How long a score's incomplete first bar is, in quarter notes; 0 where it is complete."""
    first = score.parts[0].getElementsByClass("Measure")[0]
    return Fraction(first.duration.quarterLength if first.paddingLeft else 0)


def with_upbeat(data: bytes, quarters: Fraction) -> bytes:
    """A MIDI file whose bar lines are the score's: a short first bar has a time signature.

    music21 writes the signature of the whole at once, so all bar lines come early by what the first
    bar lacks; and where a repeat goes back to the beginning it writes it again, a beat before a bar
    line. Here the first bar has a signature of its own (1/4), the second has the piece's, and of
    equal ones in a row the first stays.
    """
    file = mido.MidiFile(file=io.BytesIO(data))
    length = round(quarters * file.ticks_per_beat)
    signs: list[tuple[int, Any]] = []
    others: list[tuple[int, Any]] = []
    tick = 0
    for message in file.tracks[0]:
        tick += message.time
        if message.type != "time_signature":
            others.append((tick, message))
        elif not signs or _ratio(message) != _ratio(signs[-1][1]):
            signs.append((tick, message))
    if length and signs:
        whole = signs[0][1]
        numerator, denominator = signature(length, file.ticks_per_beat)
        short = whole.copy(numerator=numerator, denominator=denominator)
        signs = [(0, short), (length, whole), *signs[1:]]
    track, at = mido.MidiTrack(), 0
    for tick, message in sorted([*signs, *others], key=lambda one: one[0]):
        track.append(message.copy(time=tick - at))
        at = tick
    file.tracks[0] = track
    written = io.BytesIO()
    file.save(file=written)
    return written.getvalue()


def _ratio(message: Any) -> tuple[int, int]:
    return message.numerator, message.denominator
