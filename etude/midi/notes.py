"""The note table of a MIDI file, and what tells pieces apart: hash of the notes, tune n-grams."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import symusic

from etude.file_signatures import HEAD, what_it_is
from etude.midi import bars
from etude.midi.tempo import seconds_at

VERSION = 3  # raised when tables, hashes or n-grams change
DRUMS = 128  # the program of drum notes in a table
SIX = 6  # bytes of a header: its type, its number of tracks, its resolution
INDEPENDENT = 2  # the type of a file whose tracks are pieces of their own
MAX_BYTES = 16 * 2**20  # no piece of music; it would only take memory
HELD = 16  # onsets that a held note is looked for over
COLUMNS = {"time": np.int64, "duration": np.int64, "pitch": np.int16, "velocity": np.int16}
OF_NOTES = ("onset", "duration", "pitch", "velocity", "program", "track")  # a table's columns
NGRAM = 8  # intervals in an n-gram: one byte each, so that an n-gram is one 64-bit word


class MidiError(Exception):
    """A file that cannot be used; the message is the reason that its row says."""


@dataclass(frozen=True)
class NoteTable:
    """Notes in the order of onset, pitch, program, duration and track; times in ticks.

    Attributes: onset, duration (int64 [n], duration at least 1), pitch, velocity, program
    (int16 [n]; drums are program 128), tempos (int64 [m, 2]: tick, microseconds per quarter
    note), ticks_per_quarter, track (int32 [n]: the voice; what plays another program, or stands in
    another track or channel of a file, is another; all 0 where nothing is known of voices),
    signatures (int64 [m, 3]: see `etude.midi.bars`; none where nothing is known of bars).
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray
    tempos: np.ndarray
    ticks_per_quarter: int
    track: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    signatures: np.ndarray = field(default_factory=lambda: bars.NONE)

    def __post_init__(self) -> None:
        if not len(self.track) and len(self.onset):
            object.__setattr__(self, "track", np.zeros(len(self.onset), np.int32))

    def __len__(self) -> int:
        return len(self.onset)

    @cached_property
    def onset_s(self) -> np.ndarray:
        """Onsets in seconds, float64 [n]."""
        return seconds_at(self.onset, self.tempos, self.ticks_per_quarter)

    @cached_property
    def end_s(self) -> np.ndarray:
        """Ends in seconds, float64 [n]."""
        return seconds_at(self.onset + self.duration, self.tempos, self.ticks_per_quarter)

    @cached_property
    def seconds(self) -> float:
        """The end of the last note; 0.0 without notes."""
        last = (self.onset + self.duration).max(initial=0, keepdims=True)
        return float(seconds_at(last, self.tempos, self.ticks_per_quarter)[0])

    @property
    def upbeat(self) -> int:
        """The ticks of a short first bar; 0 where the first bar is whole."""
        return bars.upbeat(self.signatures, self.ticks_per_quarter)

    def places(self) -> bars.BarPositions:
        """In which bar each note begins, and where there."""
        return bars.places(self.onset, self.signatures, self.ticks_per_quarter)

    def without_drums(self) -> NoteTable:
        """The pitched notes."""
        pitched = self.program != DRUMS
        return self if pitched.all() else self.at(pitched)

    def played_with(self, program: int) -> NoteTable:
        """The same notes with one program, drums apart."""
        programs = np.where(self.program == DRUMS, DRUMS, program).astype(np.int16)
        table = replace(self, program=programs)
        return table.at(table.order())

    def as_one_track(self) -> NoteTable:
        """The same notes without their voices."""
        return replace(self, track=np.zeros_like(self.track)) if self.track.any() else self

    def programs(self) -> list[int]:
        """The programs in use, sorted."""
        return np.flatnonzero(np.bincount(self.program)).tolist()

    def order(self) -> np.ndarray:
        """The order of notes that a table has: int64 [n]."""
        key = (self.onset << 15) + (self.pitch.astype(np.int64) << 8) + self.program
        order = np.argsort(key, kind="stable")
        ties = key[order[1:]] == key[order[:-1]]
        return np.lexsort((self.track, self.duration, key)) if ties.any() else order

    def at(self, index: np.ndarray) -> NoteTable:
        """The notes of a mask or in an order."""
        columns: dict[str, Any] = {name: getattr(self, name)[index] for name in OF_NOTES}
        return replace(self, **columns)


def read_midi(path: Path | str) -> NoteTable:
    """Read a file: see `parse_midi`.

    Raises:
        MidiError: `unreadable`, `too_large`, and those of `parse_midi`.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise MidiError(f"unreadable: {error.strerror}") from None
    return parse_midi(data)


def read_bytes(path: Path | str) -> bytes:
    """The bytes of a file; of one that is too large, as many as show it."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (Path costs as much as the reading)
        small = os.fstat(file.fileno()).st_size <= MAX_BYTES
        return file.read(-1 if small else MAX_BYTES + 1)


def parse_midi(data: bytes) -> NoteTable:
    """The note table of a Standard MIDI File.

    Notes without length, and notes that never end, are left out.

    Raises:
        MidiError: `empty_file`, `too_large`, `ends_early`, `corrupt_midi` or `unsupported_midi`.
    """
    data = strip_wrapper(data)
    _check_whole(data)
    try:
        score: Any = symusic.Score.from_midi(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise MidiError(f"corrupt_midi: {_first_sentence(error)}") from None
    parts, programs = [], []
    for track in score.tracks:
        parts.append(track.notes.numpy())
        programs.append(DRUMS if track.is_drum else track.program)
    counts = [len(notes["time"]) for notes in parts]
    onset, duration, pitch, velocity = [
        np.concatenate([notes[name] for notes in parts] or [[]]).astype(kind)
        for name, kind in COLUMNS.items()
    ]
    signatures = _rows(score.time_signatures, "time", "numerator", "denominator")
    table = NoteTable(
        onset,
        duration,
        pitch,
        velocity,
        np.repeat(np.array(programs, np.int16), counts),
        _rows(score.tempos, "time", "mspq"),
        score.ticks_per_quarter,
        np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        signatures[(signatures[:, 1:] > 0).all(1)],
    )
    for times in (table.onset, table.tempos[:, 0], table.signatures[:, 0]):
        if times.min(initial=0) < 0:
            raise MidiError("corrupt_midi: times beyond 32 bits")
    if not (lasting := table.duration > 0).all():
        table = table.at(lasting)
    return table.at(table.order())


def _rows(events: Any, *names: str) -> np.ndarray:
    """symusic's events as int64 [n, names]."""
    columns = events.numpy()
    return np.array([columns[name] for name in names], dtype=np.int64).T


def strip_wrapper(data: bytes) -> bytes:
    """What follows a RIFF (.rmi) or MacBinary header; the header of the MIDI file is checked.

    A header may be longer than the six bytes that are known today; they are what is left of it.

    Raises:
        MidiError: `empty_file`, `too_large`, `ends_early`, `corrupt_midi` or `unsupported_midi`.
    """
    if not data:
        raise MidiError("empty_file")
    if len(data) > MAX_BYTES:
        raise MidiError(f"too_large: over {MAX_BYTES >> 20} MB")
    start = data[:256].find(b"MThd")
    if start < 0:
        found = what_it_is(data[:HEAD])
        raise MidiError(f"corrupt_midi: {f'this is {found}' if found else 'no MIDI header'}")
    if len(data) < start + 14:
        raise MidiError(f"ends_early: {len(data) - start} of 14 bytes of the header are there")
    size = int.from_bytes(data[start + 4 : start + 8], "big")
    if size < SIX:
        raise MidiError(f"corrupt_midi: a header of {size} bytes")
    fields = data[start + 8 : start + 14]
    form, tracks = fields[1], int.from_bytes(fields[2:4], "big")
    if fields[4:] == b"\0\0":
        raise MidiError("corrupt_midi: 0 ticks per quarter note")
    if fields[4] >= 0x80:
        raise MidiError("unsupported_midi: times in SMPTE frames")
    if form == INDEPENDENT and tracks > 1:
        raise MidiError(f"unsupported_midi: type 2, {tracks} patterns without a common time")
    if size > SIX:
        return b"MThd" + SIX.to_bytes(4, "big") + fields + data[start + 8 + size :]
    return data[start:]


def _check_whole(data: bytes) -> None:
    """See that no track ends before its length is over, after a header of six bytes."""
    promised, tracks, at = int.from_bytes(data[10:12], "big"), 0, 14
    while at + 8 <= len(data):
        is_track, size = data[at : at + 4] == b"MTrk", int.from_bytes(data[at + 4 : at + 8], "big")
        there = len(data) - at - 8
        tracks += is_track
        if is_track and there < size:
            why = f"{there} of {size} bytes of track {tracks} of {promised} are there"
            raise MidiError(f"ends_early: {why}")
        at += 8 + size
    if promised and not tracks:
        raise MidiError(f"ends_early: 0 of {promised} tracks are there")


def notes_hash(table: NoteTable) -> str:
    """SHA-256 of the notes: onset, duration, pitch and program, exact and free of the file's form.

    Ticks are divided by what they all share, so that another resolution gives the same hash, and
    count from the first onset. Tracks, tempo and velocity do not count: a score that was exported
    a second time, faster or louder, is the same piece.
    """
    onset = table.onset - (table.onset[0] if len(table) else 0)
    ticks = np.concatenate([onset, table.duration, [table.ticks_per_quarter]])
    ticks //= max(1, np.gcd.reduce(ticks))
    digest = hashlib.sha256(ticks.astype("<i8").tobytes())
    digest.update(table.pitch.astype("<i2").tobytes())
    digest.update(table.program.astype("<i2").tobytes())
    return digest.hexdigest()


def top_voice(table: NoteTable) -> NoteTable:
    """The notes of the highest voice.

    At each onset the highest pitched note, unless a higher one goes on sounding over at least a
    quarter of it: inner voices that move under a held note are not the tune, and a note of the
    tune that overlaps the next a little does not hide it. Held notes are looked for among the
    last 16 onsets.
    """
    pitched = table.without_drums()
    # Sorted by onset, then pitch: the last note of an onset is the highest.
    last = np.flatnonzero(np.append(np.diff(pitched.onset) > 0, True)[: len(pitched)])
    onset, pitch, duration = pitched.onset[last], pitched.pitch[last], pitched.duration[last]
    end, begun = onset + duration, onset + duration // 4
    hidden = np.zeros(len(onset), dtype=bool)
    for back in range(1, min(HELD, len(onset) - 1) + 1):
        if not (end[:-back] > onset[back:]).any():
            break  # nor does any note reach farther
        hidden[back:] |= (pitch[:-back] > pitch[back:]) & (end[:-back] > begun[back:])
    return pitched.at(last[~hidden])


def tune_ngrams(table: NoteTable) -> np.ndarray:
    """Hashes of the 8-grams of top-voice intervals, sorted, each once: uint32 [n].

    Intervals make them free of transposition; rhythm and tempo do not count.
    """
    intervals = np.diff(top_voice(table).pitch).astype(np.int8)
    if len(intervals) < NGRAM:
        return np.zeros(0, dtype=np.uint32)
    # Words that begin at every byte: the windows of eight intervals, without a copy of each.
    words = np.ndarray(len(intervals) - NGRAM + 1, "<u8", intervals.tobytes(), strides=(1,))
    hashes = np.sort(_mix(words))
    return hashes[np.append(True, hashes[1:] != hashes[:-1])]


def _mix(words: np.ndarray) -> np.ndarray:
    """The upper half of splitmix64's finaliser (Steele, Lea and Flood 2014): uint64 to uint32."""
    words = words.astype(np.uint64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (words >> np.uint64(32)).astype(np.uint32)


def _first_sentence(error: Exception) -> str:
    """The parser's own words, without its name, in one line."""
    text = str(error).removeprefix("MiniMidi: ").removesuffix(": iostream error")
    return " ".join(text.split())[:120] or type(error).__name__
