"""The note messages of a MIDI file as they are in it, by mido.

symusic pairs and repairs notes while it parses, so it cannot show what cleaning is for.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import mido
import numpy as np

from etude.midi.events import NOTE_OFF, NOTE_ON, read_rows
from etude.midi.notes import MidiError, strip_wrapper


@dataclass(frozen=True)
class Messages:
    """Note messages track by track, each track in the order of the file.

    Attributes: tick (int64 [n], from the start of the track), since (int64 [n], the delta of the
    message itself, as the file has it), track, channel, pitch, velocity (int64 [n]), on (bool
    [n]: `note_on`, whatever its velocity), ticks_per_quarter, tempos (int64 [m, 2]).
    """

    tick: np.ndarray
    since: np.ndarray
    track: np.ndarray
    channel: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    on: np.ndarray
    ticks_per_quarter: int
    tempos: np.ndarray

    def __len__(self) -> int:
        return len(self.tick)


def read_messages(data: bytes, bare: bool = False) -> Messages:
    """The note messages of a Standard MIDI File.

    Args:
        data: the file.
        bare: as we-sharp reads it: in a wrapper, or with a value over 127, it cannot be read.

    Raises:
        MidiError: mido cannot read it.
    """
    inner = strip_wrapper(data)
    try:
        file = mido.MidiFile(file=io.BytesIO(data if bare else inner), clip=not bare)
    except Exception as error:  # noqa: BLE001 (whatever it is, the file is why: odd keys, bytes)
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise MidiError(f"corrupt_midi: {text}") from None
    rows: list[tuple[int, int, int, int, int, int, bool]] = []
    tempos: list[tuple[int, int]] = []
    for index, track in enumerate(file.tracks):
        at = 0
        for message in track:
            at += message.time
            kind = message.type
            if kind in ("note_on", "note_off"):
                rows.append((at, message.time, index, message.channel, message.note,
                             message.velocity, kind == "note_on"))  # fmt: skip
            elif kind == "set_tempo":
                tempos.append((at, message.tempo))
    table = np.array(rows, np.int64).reshape(-1, 7)
    tick, since, number, channel, pitch, velocity, on = table.T
    changes = np.array(sorted(tempos), np.int64).reshape(-1, 2)
    resolution = file.ticks_per_beat
    return Messages(
        tick, since, number, channel, pitch, velocity, on.astype(bool), resolution, changes
    )


def read_messages_anyhow(data: bytes) -> Messages:
    """As `read_messages`; what mido refuses is read by Étude's own reader, up to where it breaks.

    mido refuses files for what has nothing to do with notes, such as a key that there is not.

    Raises:
        MidiError: the header is none that can be read.
    """
    try:
        return read_messages(data)
    except MidiError:
        table, tempos, ticks_per_quarter = read_rows(data)
    table = table[np.isin(table[:, 2] >> 4, (NOTE_ON, NOTE_OFF))]
    tick, track, status, pitch, velocity = table.T
    changes = tempos.reshape(-1, 2)
    return Messages(
        tick,
        np.zeros_like(tick),  # we-sharp's own way, which needs it, has no use for such files
        track,
        status & 15,
        pitch,
        velocity,
        status >> 4 == NOTE_ON,
        ticks_per_quarter,
        changes[np.lexsort(changes.T[::-1])],
    )
