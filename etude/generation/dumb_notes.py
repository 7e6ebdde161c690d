"""Music without a composer: what a reviewer would try first, made from the training split's notes.

random_notes  a stretch of a training piece with all its pitches drawn again, uniformly from the
              notes of the piece's key within its range. Onsets, durations, velocities, programs and
              tempo stay: rhythm and number of notes are the corpus's own, harmony and melody gone
one_chord     the chord that sounds on most beats of the training split, struck on every quarter, in
              the tempo and at the velocity of a training piece

Conventions
    A key is the diatonic scale that most notes of a piece are in: a major key and the minor that
    shares its notes are one. A pitch is not drawn while it sounds, so that no note is lost. Drums
    stay as they are. Bars are of four quarters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etude.audio.activations import HOP_SECONDS, LOWEST_NOTE, PitchActivations
from etude.midi.notes import DRUMS, NoteTable
from etude.midi.tempo import seconds_at
from etude.midi.writing import plain_table

VERSION = 1  # raised when the same pieces give other notes

Ints = NDArray[np.int64]
Chord = tuple[int, ...]

DIATONIC = np.array([0, 2, 4, 5, 7, 9, 11])
OCTAVE, BAR = 12, 4  # semitones; quarters
RUN_UP_SECONDS = 1.0  # played before a stretch, so that no clip begins in silence
BEATS = 512  # of a piece, in which its chords are looked for
FEWEST = 3  # notes of a chord
HELD_FRAMES = 2  # a note of a rough transcription is at least this many frames long
AUDIBLE = 0.15  # of a frame's strongest note; overtones that were taken for notes are weaker
QUARTER_SECONDS, TICKS = 0.5, 480  # of a rough transcription


def scale(pitch: np.ndarray, low: int, high: int) -> Ints:
    """The notes from `low` to `high` of the diatonic scale that most of these pitches are in."""
    counts = np.bincount(np.asarray(pitch) % OCTAVE, minlength=OCTAVE)
    root = int(np.argmax([counts[(DIATONIC + root) % OCTAVE].sum() for root in range(OCTAVE)]))
    every = np.arange(low, high + 1)
    return every[np.isin((every - root) % OCTAVE, DIATONIC)]


def key_of(table: NoteTable) -> Ints:
    """The notes of a piece's key within its range, at least an octave; empty without notes."""
    pitch = table.without_drums().pitch.astype(np.int64)
    if not len(pitch):
        return np.zeros(0, np.int64)
    low, high = int(pitch.min()), int(pitch.max())
    low = max(min(low, high - OCTAVE), 0)
    return scale(pitch, low, min(max(high, low + OCTAVE), 127))


def random_pitches(
    onset: np.ndarray, end: np.ndarray, notes: Ints, random: np.random.Generator
) -> Ints:
    """A pitch for each note, drawn uniformly from those of `notes` that do not sound then.

    Args:
        onset, end: of each note [n], in any unit, in the order of onsets.
    """
    silent_from = np.full(len(notes), -np.inf)
    found = np.zeros(len(onset), np.int64)
    for i in range(len(onset)):
        free = np.flatnonzero(silent_from <= onset[i])
        chosen = random.choice(free if len(free) else len(notes))
        silent_from[chosen] = end[i]
        found[i] = notes[chosen]
    return found


def random_notes(table: NoteTable, key: Ints, random: np.random.Generator) -> NoteTable:
    """The same notes, their pitches drawn from a key's."""
    pitched = np.flatnonzero(table.program != DRUMS)
    end = (table.onset + table.duration)[pitched]
    pitch = table.pitch.copy()
    pitch[pitched] = random_pitches(table.onset[pitched], end, key, random)
    made = replace(table, pitch=pitch)
    return made.at(made.order())


def stretch(table: NoteTable, start_s: float, seconds: float) -> tuple[NoteTable, float]:
    """What sounds from the bar line before a stretch (and before a run-up) to the stretch's end.

    Returns:
        The notes, counted from that bar line, and the second at which the stretch begins in them.
    """
    place = max(start_s - RUN_UP_SECONDS, 0.0)
    bars = np.arange(0, int(table.onset.max(initial=0)) + 1, BAR * table.ticks_per_quarter)
    times = seconds_at(bars, table.tempos, table.ticks_per_quarter)
    first = int(np.searchsorted(times, place + 1e-9, side="right")) - 1
    bar = int(bars[first])
    there = (table.onset + table.duration > bar) & (table.onset_s < start_s + seconds)
    part = table.at(there)
    onset = np.maximum(part.onset, bar)
    holds = max(int((table.tempos[:, 0] <= bar).sum()) - 1, 0)  # the tempo at the bar line
    tempos = table.tempos[holds:] - np.array([bar, 0])
    tempos[:, 0] = tempos[:, 0].clip(0)
    part = replace(
        part, onset=onset - bar, duration=part.duration - (onset - part.onset), tempos=tempos
    )
    return part.at(part.order()), start_s - float(times[first])


def chords(table: NoteTable) -> Counter[Chord]:
    """On how many beats each chord sounds: its different pitches, the lowest first."""
    table = table.without_drums()
    end = table.onset + table.duration
    beats = np.arange(0, int(end.max(initial=0)), table.ticks_per_quarter)[:BEATS]
    sounding = (table.onset <= beats[:, None]) & (end > beats[:, None])
    return Counter(tuple(np.unique(table.pitch[row]).tolist()) for row in sounding if row.any())


def commonest_chord(tables: Iterable[NoteTable]) -> Chord:
    """The chord of the most beats of all pieces; of equal ones the lowest.

    One of three notes or more; where there is none, of two, or a single note. Empty without notes.
    """
    counts: Counter[Chord] = Counter()
    for table in tables:
        counts.update(chords(table))
    return min(counts, key=lambda c: (-min(len(c), FEWEST), -counts[c], c), default=())


def one_chord(chord: Chord, like: NoteTable, seconds: float) -> NoteTable:
    """A chord on every quarter, in the first tempo, program and middle velocity of a piece."""
    pitched = like.without_drums()
    lasting = like.tempos[like.tempos[:, 1] > 0]
    quarter_s = int(lasting[0, 1]) / 1e6 if len(lasting) else QUARTER_SECONDS
    count = int(seconds / quarter_s) + 1
    onset = np.repeat(np.arange(count), len(chord)) * like.ticks_per_quarter
    return plain_table(
        onset,
        np.full(len(onset), like.ticks_per_quarter),
        np.tile(chord, count),
        velocity=int(np.median(pitched.velocity)),
        program=int(np.bincount(pitched.program).argmax()),
        quarters_a_minute=60 / quarter_s,
        ticks_per_quarter=like.ticks_per_quarter,
    )


def sketch(wave: np.ndarray, hear: PitchActivations) -> NoteTable:
    """A recording as a rough transcription: what sounds for two frames or more is a note.

    Pitches are as good as the activations; keys, density and rhythm are what it is made for.
    """
    power = hear(np.asarray(wave, np.float64)).power
    sounds = power > AUDIBLE * power.max(1, keepdims=True)
    edges = np.diff(np.pad(sounds.T.astype(np.int8), ((0, 0), (1, 1))))
    pitch, begin = np.nonzero(edges > 0)
    end = np.nonzero(edges < 0)[1]
    held = end - begin >= HELD_FRAMES
    frame = HOP_SECONDS / QUARTER_SECONDS * TICKS
    return plain_table(
        np.round(begin[held] * frame),
        np.round((end - begin)[held] * frame),
        pitch[held] + LOWEST_NOTE,
        quarters_a_minute=60 / QUARTER_SECONDS,
        ticks_per_quarter=TICKS,
    )
