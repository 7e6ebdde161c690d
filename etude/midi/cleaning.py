"""MidiLM's cleaning of note messages: order, pairs, doubled notes, chords.

All in arrays: the cost of a piece hardly depends on its length. Times are ticks at one resolution
for all files. we-sharp's own steps, with their defects, are in `we_sharp`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etude.midi.events import DRUM_CHANNEL
from etude.midi.messages import Messages
from etude.midi.notes import DRUMS, NoteTable

VERSION = 1  # raised when notes or counts change
FAR = np.int64(2**40)  # more ticks than any piece has


@dataclass(frozen=True)
class NoteArrays:
    """Notes in any order: int64 [n] each; `end` is after `start`."""

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def at(self, index: np.ndarray) -> NoteArrays:
        """The notes of a mask or in an order."""
        return NoteArrays(
            self.start[index], self.end[index], self.pitch[index], self.velocity[index]
        )

    def sorted(self) -> NoteArrays:
        """In the order of onset, pitch and end."""
        return self.at(np.lexsort((self.end, self.pitch, self.start)))


@dataclass(frozen=True)
class Lines:
    """Note messages in one order for all tracks (step 1), one line each in a text file.

    Attributes: tick (at the common resolution), exact (the file's own), voice (track, channel and
    pitch as one number), pitch, channel, velocity (int64 [n]), on (bool [n]; a note-on of velocity
    0 is a note-off).
    """

    tick: np.ndarray
    exact: np.ndarray
    voice: np.ndarray
    pitch: np.ndarray
    channel: np.ndarray
    velocity: np.ndarray
    on: np.ndarray

    def __len__(self) -> int:
        return len(self.tick)

    def at(self, index: np.ndarray) -> Lines:
        """The lines of a mask or in an order."""
        return Lines(**{name: column[index] for name, column in vars(self).items()})


def sort_lines(messages: Messages, ticks_per_quarter: int) -> tuple[Lines, dict[str, int]]:
    """Step 1: tracks merged in time, of one moment by pitch, ends before beginnings.

    Drums have no pitch and are left out.
    """
    drums = messages.channel == DRUM_CHANNEL
    keep = ~drums
    on = messages.on & (messages.velocity > 0)
    voice = (messages.track * 16 + messages.channel) * 128 + messages.pitch
    tick = scaled(messages.tick, messages.ticks_per_quarter, ticks_per_quarter)
    lines = Lines(
        tick, messages.tick, voice, messages.pitch, messages.channel, messages.velocity, on
    ).at(keep)
    order = np.argsort(lines.exact * 256 + lines.pitch * 2 + lines.on, kind="stable")
    counts = {
        "lines": len(messages),
        "note_ons": int((on & keep).sum()),
        "velocity_zero": int((messages.on & ~on & keep).sum()),
        "drum_lines": int(drums.sum()),
    }
    return lines.at(order), counts


def scaled(tick: np.ndarray, old: int, new: int) -> np.ndarray:
    """Ticks at another resolution, to the nearest; whole pieces, so that nothing adds up."""
    return tick if old == new else (2 * tick * new + old) // (2 * old)


def pair_lines(lines: Lines) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Step 2: the lines where notes begin and end: int64 [notes] each, by beginning.

    Of several equal notes that sound at once the last begun ends first. A note that begins and
    ends in one moment is none; a beginning without an end, or the reverse, is left out.
    """
    alive = np.arange(len(lines))
    begin, end = pair(lines.voice, lines.on)
    alone = _without(len(lines), begin, end)
    # A note of no length has its end sorted before its beginning.
    ends = alone[~lines.on[alone]]
    key = lines.voice * FAR + lines.exact
    empty = np.flatnonzero(lines.on & np.isin(key, key[ends])) if ends.size else ends
    if empty.size:
        gone = np.concatenate([_first_each(key, empty), _first_each(key, ends)])
        gone = gone[np.isin(key[gone], key[empty])]
        alive = np.delete(alive, gone)
        begin, end = pair(lines.voice[alive], lines.on[alive])
        begin, end = alive[begin], alive[end]
        alone = np.setdiff1d(_without(len(lines), begin, end), gone)
    counts = {
        "pairs": len(begin),
        "no_length": int(len(lines) - len(alive)) // 2,
        "never_end": int(lines.on[alone].sum()),
        "never_begin": int((~lines.on[alone]).sum()),
    }
    return begin, end, counts


def _first_each(key: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Of lines with one key the first."""
    return index[np.unique(key[index], return_index=True)[1]]


def _without(n: int, *used: np.ndarray) -> np.ndarray:
    mask = np.ones(n, bool)
    for index in used:
        mask[index] = False
    return np.flatnonzero(mask)


def pair(voice: np.ndarray, on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Beginnings and ends that belong together, as brackets do, voice by voice.

    Args:
        voice: int64 [n], in the order of time.
        on: bool [n].

    Returns:
        indices of beginnings, sorted, and of their ends.
    """
    n = len(voice)
    if not n:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(voice, kind="stable")
    ordered, step = voice[order], np.where(on[order], 1, -1)
    first = np.append(True, ordered[1:] != ordered[:-1])
    group = np.cumsum(first) - 1
    depth = np.cumsum(step)
    depth -= (depth - step)[first][group]
    # Ends that meet no beginning must not lower the depth: count from the lowest point so far.
    low = np.minimum.accumulate(depth - group * FAR) + group * FAR
    depth -= np.minimum(low, 0)
    level = depth + (step < 0)  # an end closes the level above what is left
    by_level = np.lexsort((np.arange(n), level, group))
    a, b = by_level[:-1], by_level[1:]
    fits = (group[a] == group[b]) & (level[a] == level[b]) & (step[a] > 0) & (step[b] < 0)
    begin, end = order[a[fits]], order[b[fits]]
    by_time = np.argsort(begin)
    return begin[by_time], end[by_time]


def notes_of(lines: Lines, begin: np.ndarray, end: np.ndarray) -> NoteArrays:
    """The notes of pairs; what rounds to no length is a tick long."""
    start = lines.tick[begin]
    stop = np.maximum(lines.tick[end], start + 1)
    return NoteArrays(start, stop, lines.pitch[begin], lines.velocity[begin])


def join_doubled(notes: NoteArrays) -> tuple[NoteArrays, np.ndarray]:
    """Step 3: a note that begins while its pitch sounds is joined with that; no time is lost.

    Returns:
        the notes, and which of the given notes were joined into an earlier one (bool [n]).
    """
    if not len(notes):
        return notes, np.zeros(0, bool)
    voice = notes.pitch * FAR  # one number for pitch and time: pitches do not meet
    start = notes.start + voice
    order = np.argsort(start, kind="stable")
    latest = np.maximum.accumulate((notes.end + voice)[order])
    first = np.empty(len(notes), bool)
    first[0] = True
    np.greater_equal(start[order[1:]], latest[:-1], out=first[1:])
    joined = np.zeros(len(notes), bool)
    joined[order[~first]] = True
    if first.all():
        return notes, joined
    kept = notes.at(order[first])
    last = np.append(np.flatnonzero(first)[1:] - 1, len(notes) - 1)
    return NoteArrays(
        kept.start, latest[last] - kept.pitch * FAR, kept.pitch, kept.velocity
    ), joined


def find_chords(notes: NoteArrays, least: int) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Step 4: which notes belong to chords: equal onset and duration, `least` notes or more.

    Returns:
        a mask (bool [n]) and each chord's pitches, sorted.
    """
    if not len(notes):
        return np.zeros(0, bool), []
    order = np.lexsort((notes.pitch, notes.end, notes.start))
    start, end, pitch = notes.start[order], notes.end[order], notes.pitch[order]
    first = np.append(True, (start[1:] != start[:-1]) | (end[1:] != end[:-1]))
    begin = np.flatnonzero(first)
    size = np.diff(np.append(begin, len(order)))
    mask = np.zeros(len(notes), bool)
    mask[order] = np.repeat(size >= least, size)
    large = size >= least
    chords = [
        tuple(pitch[b : b + n].tolist()) for b, n in zip(begin[large], size[large], strict=True)
    ]
    return mask, chords


def table_notes(table: NoteTable, ticks_per_quarter: int) -> NoteArrays:
    """The pitched notes of a table at a resolution; none is shorter than a tick."""
    if (table.program == DRUMS).any():
        table = table.without_drums()
    ends = table.onset + table.duration
    start = scaled(table.onset, table.ticks_per_quarter, ticks_per_quarter)
    end = scaled(ends, table.ticks_per_quarter, ticks_per_quarter)
    pitch, velocity = table.pitch.astype(np.int64), table.velocity.astype(np.int64)
    return NoteArrays(start, np.maximum(end, start + 1), pitch, velocity)
