"""A MIDI file and what continues it, as one file: its own tracks stay as they are, byte by byte.

A note table knows notes and tempos. A piece has more: pedals, volumes, metres, instruments, names.
So what is added is in tracks of its own after those of the piece.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import mido
import numpy as np
import symusic

from etude.midi import bars
from etude.midi.events import CONTROL, DRUM_CHANNEL, PROGRAM, read_rows, track_spans
from etude.midi.notes import DRUMS, OF_NOTES, NoteTable, parse_midi, strip_wrapper
from etude.midi.tempo import DEFAULT_TEMPO, seconds_at
from etude.midi.writing import apart

VERSION = 2  # raised when a piece and its continuation give other bytes

HEADER = 14  # bytes
TRACKS = 2**16 - 1  # of a file, at most
MELODIC = [channel for channel in range(16) if channel != DRUM_CHANNEL]
VOLUME, RESET_ALL_CONTROLLERS = 7, 121


@dataclass(frozen=True)
class ContinuedFile:
    """A MIDI file that something continues.

    Attributes: data (the file, without a wrapper), table (all of its notes), start, beats and unit
    (of its last time signature: the tick where it begins, beats of a bar, ticks of a beat).
    """

    data: bytes
    table: NoteTable
    start: int
    beats: int
    unit: Fraction

    def beat_after(self, tick: int) -> int:
        """The first beat at a tick or later, counted from the last time signature."""
        return math.ceil(self.start + math.ceil((tick - self.start) / self.unit) * self.unit)

    @cached_property
    def seam(self) -> int:
        """The tick where the continuation begins: a beat.

        No note sounds any more, and no change of tempo or metre is still to come.
        """
        ends = self.table.onset + self.table.duration
        return self.beat_after(max(int(ends.max(initial=0)), self._last_tempo[0], self.start))

    @property
    def seam_s(self) -> float:
        """The seam in seconds."""
        return self._seconds(self.seam)

    @property
    def _last_tempo(self) -> tuple[int, int]:
        """Tick and microseconds per quarter note."""
        tempos = self.table.tempos[self.table.tempos[:, 1] > 0]
        if not len(tempos):
            return 0, DEFAULT_TEMPO
        tick, microseconds = tempos[np.argsort(tempos[:, 0], kind="stable")[-1]].tolist()
        return tick, microseconds

    def bars_s(self, bars: float) -> float:
        """The second at which this many bars after the seam are over, at the last tempo."""
        return self._seconds(self.seam + round(bars * self.beats * self.unit))

    def _seconds(self, tick: int) -> float:
        table = self.table
        return float(seconds_at(np.array([tick]), table.tempos, table.ticks_per_quarter)[0])

    def joined(self, new: NoteTable) -> NoteTable:
        """The notes of the piece and those that follow, in ticks of the piece."""
        both: dict[str, Any] = {
            name: np.concatenate([getattr(self.table, name), getattr(new, name)])
            for name in (*OF_NOTES, "tempos")
        }
        both["track"][len(self.table) :] += 1 + self.table.track.max(initial=-1)
        whole = replace(self.table, **both)
        return whole.at(whole.order())

    def behind(self, whole: NoteTable) -> NoteTable:
        """What of `joined` follows the seam, counted from there."""
        new = whole.at(whole.onset >= self.seam)
        later = whole.tempos[whole.tempos[:, 0] > self.seam] - [self.seam, 0]
        tempos = np.concatenate([[[0, self._last_tempo[1]]], later])
        signatures = bars.behind(whole.signatures, whole.ticks_per_quarter, self.seam)
        return replace(new, onset=new.onset - self.seam, tempos=tempos, signatures=signatures)

    def file(self, whole: NoteTable) -> bytes:
        """The piece's own tracks, and those of what follows the seam in `joined`."""
        promised = int.from_bytes(self.data[10:12], "big")  # readers hear no more of them
        spans = track_spans(self.data)[:promised]
        old = [_chunk(self.data[start:stop]) for start, stop in spans]
        tracks = [*old, *self._new_tracks(self.behind(whole))]
        counts = b"".join(n.to_bytes(2, "big") for n in (1, min(len(tracks), TRACKS)))
        return self.data[:8] + counts + self.data[12:HEADER] + b"".join(tracks)

    def _new_tracks(self, new: NoteTable) -> list[bytes]:
        """A track a program; the first has the changes of tempo."""
        found, channels = [], self._channels(new.programs())
        tempos = [
            (self.seam + tick, 0, mido.MetaMessage("set_tempo", tempo=tempo))
            for tick, tempo in new.tempos[1:].tolist()
        ]
        new = apart(new.as_one_track())  # a track a program
        for program, channel in channels.items():
            events = [*_setting(program, channel, self._volume, self.seam), *tempos]
            part = new.at(new.program == program)
            columns = (part.onset, part.duration, part.pitch, part.velocity)
            for onset, length, pitch, velocity in zip(*(c.tolist() for c in columns), strict=True):
                note: dict[str, Any] = {"channel": channel, "note": pitch}
                on = mido.Message("note_on", velocity=min(max(velocity, 1), 127), **note)
                events.append((self.seam + onset, 3, on))
                events.append((self.seam + onset + length, 2, mido.Message("note_off", **note)))
            found.append(_track(events))
            tempos = []
        return found

    def _channels(self, programs: list[int]) -> dict[int, int]:
        """A channel a program.

        One that the piece does not use where there is one: pedals that are down, bends and faders
        that are closed at its end are not meant for what follows.
        """
        rows = self._rows
        used = set((rows[:, 2] & 15).tolist())
        chosen = {int(row[2]) & 15: int(row[3]) for row in rows[rows[:, 2] >> 4 == PROGRAM]}
        same = {program: channel for channel, program in chosen.items() if channel in MELODIC}
        free = [channel for channel in MELODIC if channel not in used]
        found: dict[int, int] = {}
        for number, program in enumerate(programs):
            if program == DRUMS:
                found[program] = DRUM_CHANNEL
            elif free:
                found[program] = free.pop(0)
            else:
                found[program] = same.get(program, MELODIC[number % len(MELODIC)])
        return found

    @cached_property
    def _rows(self) -> np.ndarray:
        return read_rows(self.data)[0]

    @property
    def _volume(self) -> int | None:
        """The loudest that a channel of the piece is set to, so that what follows is no louder."""
        rows = self._rows
        volumes = rows[(rows[:, 2] >> 4 == CONTROL) & (rows[:, 3] == VOLUME), 4]
        return int(volumes.max()) if volumes.any() else None


def read_piece(data: bytes) -> ContinuedFile:
    """A Standard MIDI File as a piece.

    Raises:
        MidiError: it cannot be read.
    """
    table, data = parse_midi(data), strip_wrapper(data)
    score: Any = symusic.Score.from_midi(data)
    signs = [
        (sign.time, sign.numerator, sign.denominator)
        for sign in score.time_signatures
        if sign.numerator > 0 and sign.denominator > 0
    ]
    start, beats, parts = [(0, 4, 4), *sorted(signs, key=lambda sign: sign[0])][-1]
    return ContinuedFile(data, table, start, beats, Fraction(4 * table.ticks_per_quarter, parts))


def after(table: NoteTable, second: float, until: float | None = None) -> NoteTable:
    """The notes that begin at a time or later (and before another), counted from there.

    What sounds at `until` ends there.
    """
    kept = table.onset_s >= second - 1e-9
    if until is not None:
        kept &= table.onset_s < until - 1e-9
    part = table.at(kept)
    if until is not None and len(part):
        length = np.maximum(part.duration * np.minimum(
            (until - part.onset_s) / np.maximum(part.end_s - part.onset_s, 1e-9), 1.0
        ), 1)  # fmt: skip
        part = replace(part, duration=length.astype(np.int64))
    if second <= 0 or not len(part):
        return part
    tick = int(np.interp(second, [0.0, *table.onset_s], [0, *table.onset]))
    signatures = bars.behind(table.signatures, table.ticks_per_quarter, tick)
    return replace(part, onset=np.maximum(part.onset - tick, 0), signatures=signatures)


def _setting(program: int, channel: int, volume: int | None, tick: int) -> list[Any]:
    """The events that make a channel ready for a program, from a tick on; drums need none."""
    name = mido.MetaMessage("track_name", name="continuation")
    if program == DRUMS:
        return [(0, 0, name)]
    events = [
        mido.Message("control_change", channel=channel, control=RESET_ALL_CONTROLLERS),
        mido.Message("program_change", channel=channel, program=program),
    ]
    if volume is not None:
        control = {"control": VOLUME, "value": volume}
        events.append(mido.Message("control_change", channel=channel, **control))
    return [(0, 0, name), *((tick, 1, event) for event in events)]


def _track(events: list[Any]) -> bytes:
    """The chunk of (tick, rank, message): by tick, those of one tick by rank."""
    track, at = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - at))
        at = tick
    file = io.BytesIO()
    mido.MidiFile(tracks=[track]).save(file=file)
    return file.getvalue()[HEADER:]


def _chunk(body: bytes) -> bytes:
    return b"MTrk" + len(body).to_bytes(4, "big") + body
