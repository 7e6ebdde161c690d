"""The events of a MIDI file in the order in which a synthesizer gets them.

Notes alone do not sound like the piece: pedal, volume, bends and program changes are events of
channels. This reader keeps them all, and the track that each came from.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from etude.midi.notes import strip_wrapper
from etude.midi.tempo import seconds_at

NOTE_OFF, NOTE_ON, KEY_PRESSURE, CONTROL, PROGRAM, CHANNEL_PRESSURE, BEND = range(8, 15)
SET_TEMPO = 0x51
DRUM_CHANNEL = 9


@dataclass(frozen=True)
class Events:
    """Channel events sorted by time; at one time in the order of tracks, then of the file.

    Attributes: seconds (float64 [n]), kind (int [n]: 8 to 14, the upper half of the status
    byte), channel, track, data1, data2 (int [n]); end_s: when the last note that ends has ended.
    """

    seconds: np.ndarray
    kind: np.ndarray
    channel: np.ndarray
    track: np.ndarray
    data1: np.ndarray
    data2: np.ndarray
    end_s: float

    def where(self, mask: np.ndarray) -> Events:
        """The events of a mask, with the end of what is left."""
        return _events(*(column[mask] for column in self.columns))

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        """Seconds, kind, channel, track, data1 and data2."""
        return self.seconds, self.kind, self.channel, self.track, self.data1, self.data2


def read_events(data: bytes) -> Events:
    """The events of a Standard MIDI File. What is broken at the end of a track is left out.

    Raises:
        MidiError: the header is none that can be read.
    """
    table, changes, ticks_per_quarter = read_rows(data)
    table = table[np.argsort(table[:, 0], kind="stable")]
    ticks, tracks, status, data1, data2 = table.T
    seconds = seconds_at(ticks, changes, ticks_per_quarter)
    return _events(seconds, status >> 4, status & 15, tracks, data1, data2)


def read_rows(data: bytes) -> tuple[np.ndarray, np.ndarray, int]:
    """The channel events in ticks, in the order of the file.

    Returns:
        int64 [n, 5] of tick, track, status, data1 and data2; tempos (int64 [m, 2]: tick,
        microseconds per quarter note); ticks per quarter note.

    Raises:
        MidiError: the header is none that can be read.
    """
    data = strip_wrapper(data)
    rows = array("q")  # five numbers an event: a file of 16 MB has millions
    tempos: list[tuple[int, int]] = []
    for track, (start, stop) in enumerate(track_spans(data)):
        _read_track(data, start, stop, track, rows, tempos)
    table = np.frombuffer(rows, dtype=np.int64).reshape(-1, 5)
    return table, np.array(tempos, dtype=np.int64), int.from_bytes(data[12:14], "big")


def track_spans(data: bytes) -> list[tuple[int, int]]:
    """Begin and end of the track chunks; a last one that is cut off ends with the data."""
    spans, at = [], 8 + int.from_bytes(data[4:8], "big")
    while at + 8 <= len(data):
        begin, size = at + 8, int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            spans.append((begin, min(begin + size, len(data))))
        at = begin + size
    return spans


def _read_track(
    data: bytes,
    at: int,
    stop: int,
    track: int,
    rows: array[int],
    tempos: list[tuple[int, int]],
) -> None:
    """Append (tick, track, status, data1, data2) of a track's channel events, and its tempos."""
    tick, status = 0, 0
    data = data[:stop]  # reading beyond the track is an IndexError
    try:
        while at < stop:
            delta, at = _number(data, at)
            tick += delta
            if data[at] & 0x80:
                status = data[at]
                at += 1
            if status < 0x80:  # data before any status
                return
            if status < 0xF0:
                two = status & 0xE0 != 0xC0  # program change and channel pressure have one byte
                second = data[at + 1] & 127 if two else 0
                rows.extend((tick, track, status, data[at] & 127, second))
                at += 1 + two
                continue
            kind = -1
            if status == 0xFF:
                kind = data[at]
                at += 1
            length, at = _number(data, at)
            if kind == SET_TEMPO and length == 3:
                tempos.append((tick, int.from_bytes(data[at : at + 3], "big")))
            at += length
    except IndexError:
        return


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends.

    Raises:
        IndexError: the data end within it, or it is longer than the format's four bytes.
    """
    value = 0
    for _ in range(4):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 127
        if byte < 0x80:
            return value, at
    raise IndexError


def _events(*columns: np.ndarray) -> Events:
    seconds, kind, channel, track, data1, data2 = columns
    voice = (track * 16 + channel) * 128 + data1
    begun = set(voice[(kind == NOTE_ON) & (data2 > 0)].tolist())
    ends = (kind == NOTE_OFF) | (kind == NOTE_ON) & (data2 == 0)
    end_s = 0.0
    for i in np.flatnonzero(ends)[::-1]:
        if int(voice[i]) in begun:
            end_s = float(seconds[i])
            break
    return Events(seconds, kind, channel, track, data1, data2, end_s)
