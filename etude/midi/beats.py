"""Bar lines for MIDI that was played freely: its notes moved so that beats fall on quarter notes.

Beats come from a file beside the MIDI: a line a beat, its seconds first; where the last column is
1 a bar begins. POP909's `beat_midi.txt` is of this form, and so are lists of times with the number
of the beat in its bar. Every beat becomes a quarter note with a tempo of its own, so that the piece
still sounds as it was played.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from etude.config.corpora import QUARTER
from etude.midi import bars
from etude.midi.notes import MidiError, NoteTable
from etude.midi.tempo import seconds_at

VERSION = 1  # raised when the same beats give other notes
SHORTEST_S, LONGEST_S = 0.05, 20.0  # of a beat: else the file is of something else
BEYOND = 8  # beats that music may go on before the first beat and after the last
MOST_BEYOND = 0.05  # the share of notes that may be farther away than that
EARLY = 1 / 8  # of a beat that a note may come before the first one and still be meant on it
STEADY = 8  # beats whose median goes on at either end
TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
KEY = re.compile(r"([A-G])([#b]*):(maj|min)")


@dataclass(frozen=True)
class Beats:
    """Beats of a piece: seconds (float64 [n], rising), first (bool [n]: whether a bar begins)."""

    seconds: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class Clock:
    """From seconds to ticks by pairs of both, straight on beyond them; both float64 [n >= 2]."""

    seconds: np.ndarray
    ticks: np.ndarray

    def ticks_at(self, seconds: np.ndarray) -> np.ndarray:
        """The ticks of some seconds, float64."""
        index = np.searchsorted(self.seconds, seconds, side="right") - 1
        index = index.clip(0, len(self.seconds) - 2)
        slope = np.diff(self.ticks) / np.diff(self.seconds)
        return self.ticks[index] + (seconds - self.seconds[index]) * slope[index]


def read_beats(text: str) -> Beats:
    """The beats of a file.

    Raises:
        MidiError: `garbled_beats`: a line has no number, times do not rise, or beats are shorter or
            longer than any; `few_beats`: there are less than two.
    """
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    try:
        seconds = np.array([float(row[0]) for row in rows], np.float64)
        first = np.array([len(row) > 1 and float(row[-1]) == 1 for row in rows], bool)
    except ValueError as error:
        raise MidiError(f"garbled_beats: {error}") from None
    if len(seconds) < 2:
        raise MidiError(f"few_beats: {len(seconds)}")
    lengths = np.diff(seconds)
    wrong = ~((lengths >= SHORTEST_S) & (lengths <= LONGEST_S))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise MidiError(f"garbled_beats: {lengths[at]:.3f} s from beat {at + 1} to the next")
    return Beats(seconds, first)


@dataclass(frozen=True)
class KeySign:
    """A key from a second to another: its name, and what a key signature has."""

    begin: float
    end: float
    name: str
    fifths: int
    minor: bool


def read_keys(text: str) -> list[KeySign]:
    """The keys of lines `begin end Gb:maj`: POP909's `key_audio.txt`.

    Raises:
        MidiError: `garbled_keys`: a line is not of this form, or there is none.
    """
    found = []
    for line in filter(str.strip, text.splitlines()):
        words = line.split()
        match = KEY.fullmatch(words[-1])
        try:
            begin, end = float(words[0]), float(words[1])
        except (ValueError, IndexError):
            match = None
        if match is None or len(words) != 3 or not 0 <= begin <= end < np.inf:
            raise MidiError(f"garbled_keys: {line.strip()[:40]!r}")
        tonic, signs, mode = match.groups()
        minor = mode == "min"
        # As many fifths as the relative major is away from C, from six flats to five sharps.
        major = TONICS[tonic] + signs.count("#") - signs.count("b") + (3 if minor else 0)
        found.append(KeySign(begin, end, words[-1], (major * 7 + 6) % 12 - 6, minor))
    if not found:
        raise MidiError("garbled_keys: no line")
    return found


def on_beats(table: NoteTable, beats: Beats, positions: int | None) -> tuple[NoteTable, Clock]:
    """The notes with beats as quarter notes, bar lines and tempos from the beats; and its clock.

    Time begins with the first beat, or where notes are clearly before it a beat before these.

    Args:
        positions: of a beat, which onsets and ends are brought to; None: they stay between beats.

    Raises:
        MidiError: `short_beats`: too many notes are far from all beats.
    """
    seconds, first = _extended(table, beats)
    clock = Clock(seconds, QUARTER * np.arange(len(seconds), dtype=np.float64))
    grid = 1 if positions is None else QUARTER // positions
    onset, end = (
        grid * np.rint(clock.ticks_at(times) / grid).astype(np.int64)
        for times in (table.onset_s, table.end_s)
    )
    onset = np.maximum(onset, 0)
    mspq = np.rint(1e6 * np.diff(seconds)).astype(np.int64)
    change = np.flatnonzero(np.append(True, np.diff(mspq) != 0))
    moved = replace(
        table,
        onset=onset,
        duration=np.maximum(end - onset, grid),
        tempos=np.stack([change * QUARTER, mspq[change]], axis=1),
        ticks_per_quarter=QUARTER,
        signatures=_signatures(np.flatnonzero(first)),
    )
    return moved.at(moved.order()), clock


def clock_of(table: NoteTable) -> Clock:
    """The clock of a table as it is."""
    last = int((table.onset + table.duration).max(initial=0)) + table.ticks_per_quarter
    ticks = np.unique(np.concatenate([[0, last], table.tempos[:, 0].clip(0, last)]))
    seconds = seconds_at(ticks, table.tempos, table.ticks_per_quarter)
    apart = np.append(True, np.diff(seconds) > 0)
    return Clock(seconds[apart], ticks[apart].astype(np.float64))


def _extended(table: NoteTable, beats: Beats) -> tuple[np.ndarray, np.ndarray]:
    """The beats, as many more in front as notes need, and one after: times and firsts."""
    before = np.median(np.diff(beats.seconds[: STEADY + 1]))
    behind = np.median(np.diff(beats.seconds[-STEADY - 1 :]))
    begin, end = beats.seconds[0] - BEYOND * before, beats.seconds[-1] + BEYOND * behind
    far = float(((table.onset_s < begin) | (table.onset_s > end)).mean()) if len(table) else 0.0
    if far > MOST_BEYOND:
        raise MidiError(f"short_beats: {100 * far:.0f} % of the notes are far from all beats")
    earliest = float(table.onset_s.min(initial=beats.seconds[0]))
    count = int(np.ceil(max((beats.seconds[0] - earliest) / before - EARLY, 0)))
    front = beats.seconds[0] - before * np.arange(count, 0, -1)
    seconds = np.concatenate([front, beats.seconds, beats.seconds[-1:] + behind])
    return seconds, np.concatenate([np.zeros(count, bool), beats.first, [False]])


def _signatures(firsts: np.ndarray) -> np.ndarray:
    """Time signatures of bars that begin with these beats; four quarters where none is marked.

    What comes before the first of them is bars like it, and an upbeat.
    """
    if not len(firsts):
        return np.array([(0, *bars.COMMON)], np.int64)
    lengths = np.diff(firsts).tolist() or [bars.COMMON[0]]
    short = int(firsts[0]) % lengths[0]
    rows = [(0, short, 4)] if short else []
    rows.append((short * QUARTER, lengths[0], 4))
    for beat, (before, length) in zip(firsts[1:].tolist(), pairwise(lengths), strict=False):
        if length != before:
            rows.append((beat * QUARTER, length, 4))
    return np.array(rows, np.int64)
