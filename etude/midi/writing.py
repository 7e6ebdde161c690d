"""Note tables back to MIDI files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import symusic
from symusic.core import ScoreTick

from etude.midi.notes import DRUMS, NoteTable
from etude.storage import atomic

VERSION = 2  # raised when the written bytes change


def write_midi(table: NoteTable, path: Path | str) -> None:
    """Write a note table as a MIDI file of format 1, one track a voice, atomically.

    A note ends where its pitch begins again in the same voice: a file has no other way to say
    which of two equal notes is let go, and none may be left hanging.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(to_score(apart(table)).dumps_midi())


def apart(table: NoteTable) -> NoteTable:
    """The table without overlaps of a pitch in a voice; of equal onsets the longest stays."""
    part = table.track.astype(np.int64) * (DRUMS + 1) + table.program
    voice = part * 128 + table.pitch
    order = np.lexsort((-table.duration, table.onset, voice))
    voice, onset = voice[order], table.onset[order]
    same = voice[1:] == voice[:-1]
    first = np.append(True, ~(same & (onset[1:] == onset[:-1])))[: len(order)]
    order = order[first]
    voice, onset, duration = voice[first], onset[first], table.duration[order]
    next_onset = np.append(np.where(voice[1:] == voice[:-1], onset[1:], 2**62), 2**62)
    duration = np.minimum(duration, next_onset[: len(order)] - onset)
    cut = replace(table.at(order), duration=duration)
    return cut.at(cut.order())


def to_score(table: NoteTable) -> ScoreTick:
    """The table as symusic's score in ticks, one track a voice, drums marked as such."""
    score = ScoreTick(table.ticks_per_quarter)
    voice = table.program.astype(np.int64) << 32 | table.track
    order = np.argsort(voice, kind="stable")
    for index in np.split(order, np.flatnonzero(np.diff(voice[order])) + 1) if len(table) else []:
        part = table.at(index)
        drums = int(part.program[0]) == DRUMS
        track: Any = symusic.Track(program=0 if drums else int(part.program[0]), is_drum=drums)
        track.notes = symusic.Note.from_numpy(
            time=part.onset.astype(np.int32),
            duration=part.duration.astype(np.int32),
            pitch=part.pitch.astype(np.int8),
            velocity=part.velocity.astype(np.int8),
            ttype="tick",
        )
        score.tracks.append(track)
    for tick, mspq in table.tempos.tolist():
        tempo: Any = symusic.Tempo(time=tick, mspq=mspq, ttype="tick")
        score.tempos.append(tempo)
    for tick, numerator, denominator in table.signatures.tolist():
        sign: Any = symusic.TimeSignature(tick, numerator, denominator, ttype="tick")
        score.time_signatures.append(sign)
    return score


def plain_table(
    onset: np.ndarray,
    duration: np.ndarray,
    pitch: np.ndarray,
    *,
    velocity: np.ndarray | int = 80,
    program: np.ndarray | int = 0,
    track: np.ndarray | int = 0,
    quarters_a_minute: float = 120.0,
    ticks_per_quarter: int = 480,
) -> NoteTable:
    """A table from arrays in ticks, in a table's order, with one tempo throughout."""
    n = len(onset)
    small = [np.broadcast_to(np.asarray(c, np.int16), (n,)) for c in (pitch, velocity, program)]
    table = NoteTable(
        np.asarray(onset, np.int64),
        np.asarray(duration, np.int64),
        small[0],
        small[1],
        small[2],
        np.array([[0, round(60e6 / quarters_a_minute)]], np.int64),
        ticks_per_quarter,
        np.broadcast_to(np.asarray(track, np.int32), (n,)),
    )
    return table.at(table.order())
