"""What the figures of notes hear of the ladder of corruptions: power, order along the dose.

The corruptions are those of ladder.py that are done to notes. Of each figure the statistic is its
distance to real music, |mean over n clips - mean of the reference|; power is the share of draws of
n corrupted clips where it exceeds the 95 % point of draws of n real ones, of one pool with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ladder import LADDER, Excerpt, Notes, Rungs, tempo
from scipy import stats

from etude.metrics.notes import frechet, means, recurrence
from etude.metrics.notes.beats import read_beats
from etude.metrics.notes.clips import SymbolicClip, parted
from etude.metrics.notes.counterpoint import changes
from etude.metrics.notes.measure import measure_clip
from etude.metrics.notes.table import UNITS, Measured, measured
from etude.midi.notes import NoteTable

NULL_DRAWS, DRAWS = 400, 200
TICKS = 960  # a second
QUARTER = 480  # ticks of `by_quarters`
DEGREES = {0: (3, 4, 5, 1), 1: (4,), 3: (4, 0, 1), 4: (0, 0, 5), 5: (3, 1)}
SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
FRECHET = "symbolic_frechet"
# What is heard in sound alone, or is another instrument, changes no note.
RUNGS = tuple(
    r for r in LADDER if r.on == "notes" and r.change.__name__ not in ("program", "detuned")
)
ROWS: dict[str, tuple[Rungs, float]] = {r.label(d): (r, d) for r in RUNGS for d in r.doses}

Array = np.ndarray


def table_of(notes: Notes) -> NoteTable:
    """A piece as its MIDI file would be read, with a track of each voice where tables have them."""
    onset = np.round(notes.onset.clip(0) * TICKS).astype(np.int64)
    end = np.round(notes.end * TICKS).astype(np.int64)
    small = notes.pitch.clip(0, 127).astype(np.int16)
    columns = {
        "onset": onset,
        "duration": np.maximum(end - onset, 1),
        "pitch": small,
        "velocity": notes.velocity.astype(np.int16),
        "program": np.zeros_like(small),
        "tempos": np.array([[0, round(notes.beat * 1e6)]]),
        "ticks_per_quarter": round(notes.beat * TICKS),
    }
    if "track" in NoteTable.__dataclass_fields__:
        columns["track"] = notes.voice.astype(np.int16)
    table = NoteTable(**columns)
    return table.at(table.order())


def by_quarters(rows: Sequence[tuple[float, float, int]], tempo: int = 500_000) -> NoteTable:
    """Notes of (onset, duration, pitch) in quarters; 120 quarters a minute."""
    rows = sorted(rows)
    onset, duration = (np.array([round(r[k] * QUARTER) for r in rows], np.int64) for k in (0, 1))
    pitch = np.array([r[2] for r in rows], np.int16)
    columns = {
        "onset": onset, "duration": duration, "pitch": pitch,
        "velocity": np.full_like(pitch, 80), "program": np.zeros_like(pitch),
        "tempos": np.array([[0, tempo]]), "ticks_per_quarter": QUARTER,
    }  # fmt: skip
    if "track" in NoteTable.__dataclass_fields__:
        columns["track"] = np.zeros_like(pitch)
    return NoteTable(**columns)


def chorale(seed: int, bars: int = 14) -> Notes:
    """Four voices over a walk of degrees in some major key: nearest tones of each chord.

    The last two beats of every second bar are one chord.
    """
    random = np.random.default_rng([seed, 14])
    key, degree = int(random.integers(-4, 5)), 0
    voices = np.array([72, 67, 60, 48]) + key
    rows = []
    for beat in range(4 * bars):
        if beat % 8 == 7:
            continue
        degree = 0 if beat % 8 == 6 else degree
        classes = (SCALE[np.array([degree, degree + 2, degree + 4]) % 7] + key) % 12
        for i, allowed in enumerate([classes, classes, classes, classes[:1]]):
            near = (70, 65, 58, 48)[i] + key + np.arange(-9, 10)
            near = near[np.isin(near % 12, allowed)]
            step = np.abs(near - voices[i]) + 0.8 * random.random(len(near))
            voices[i] = near[step.argmin()]
            rows.append((beat / 2, (beat + (2 if beat % 8 == 6 else 1)) / 2, voices[i], 80, i))
        degree = int(random.choice(DEGREES[degree]))
    return Notes(*(np.array(c) for c in zip(*rows, strict=True)))


def clip(notes: Notes, excerpt: Excerpt, factor: float = 1.0) -> SymbolicClip:
    """An excerpt's stretch of notes; `factor` of a tempo that was changed."""
    row = {"clip": excerpt.piece, "piece": excerpt.piece}
    row |= {"prime_seconds": str(excerpt.start / factor), "heard_seconds": str(excerpt.seconds)}
    return parted(row, table_of(notes))


def known_changes(pieces: Sequence[Notes]) -> Array:
    """The changes of chord of some pieces, as the training split's."""
    tables = [table_of(notes) for notes in pieces]
    return np.unique(np.concatenate([changes(read_beats(t, 0, t.seconds)) for t in tables]))


def clips_of(chosen: Sequence[Excerpt], row: str = "") -> list[SymbolicClip]:
    """Excerpts as they are, or with a row of the ladder."""
    if not row:
        return [clip(excerpt.notes, excerpt) for excerpt in chosen]
    rungs, dose = ROWS[row]
    factor = dose if rungs.change is tempo else 1.0
    found = []
    for number, excerpt in enumerate(chosen):
        notes = rungs.change(excerpt.notes, dose, np.random.default_rng([number, 7]))
        found.append(clip(notes, excerpt, factor))
    return [one for one in found if len(one.music)]


def measure(chosen: Sequence[SymbolicClip], known: Array) -> Measured:
    """All that score_symbolic reads of clips, but harmony's words."""
    rows = {"clips": [measure_clip(one, with_harmony=False) for one in chosen]}
    return measured(rows | {"dropped": {}, "note": ""}, {}, known, compat="", real=False)


@dataclass(frozen=True)
class Heard:
    """Of one row: distance to real music and power at each n, by figure."""

    value: dict[str, float]
    distance: dict[str, float]
    power: dict[int, dict[str, float]]


class NotesEar:
    """The figures of notes, a reference, and the real clips of the pool that is corrupted."""

    def __init__(self, reference: Measured, real: Measured, sizes: Sequence[int] = (32, 64)):
        self.sizes, self.real = sizes, real
        self.held_out = means.mean_of(reference.scalars)
        rows = frechet.filled(reference.frechet_rows, reference.frechet_rows)
        self.fill, self.project = rows, frechet.projection(rows)
        self.rows = self.project(rows)
        self.limits = {}
        for n in sizes:
            null = self.distances(real, n, NULL_DRAWS, 1)
            known = np.isfinite(null).any(0)
            self.limits[n] = np.full(null.shape[1], np.nan)
            self.limits[n][known] = np.nanquantile(null[:, known], 0.95, axis=0)

    def distances(self, some: Measured, n: int, count: int, seed: int) -> Array:
        """To the reference, of draws of n clips: [count, figures and the Fréchet distance]."""
        random = np.random.default_rng([seed, n])
        rows = self.project(frechet.filled(some.frechet_rows, self.fill))
        weights, far = np.zeros((count, len(some))), np.zeros((count, 1))
        for draw in range(count):
            chosen = random.choice(len(some), n, replace=False)
            weights[draw, chosen] = 1
            far[draw] = frechet.distance(self.rows, rows[chosen])
        found = np.abs(means.weighted_means(some.scalars, weights) - self.held_out)
        return np.concatenate([found, far], 1)

    def hear(self, some: Measured) -> Heard:
        """A row of the ladder; power is NaN where a figure has no value."""
        names = (*UNITS, FRECHET)
        rows = self.project(frechet.filled(some.frechet_rows, self.fill))
        mean, far = means.mean_of(some.scalars), frechet.distance(self.rows, rows)
        distance = [*np.abs(mean - self.held_out), far]
        power = {}
        for n, limit in self.limits.items():
            draws = self.distances(some, n, DRAWS, 2)
            heard = np.where(np.isfinite(draws), draws > limit + 1e-9, np.nan)
            power[n] = dict(zip(names, heard.mean(0).tolist(), strict=True))
        return Heard(
            dict(zip(names, [*mean.tolist(), far], strict=True)),
            dict(zip(names, map(float, distance), strict=True)),
            power,
        )


FORM_BARS = 16  # the default of evaluation.symbolic.form_bars
FORM = tuple(name for name in recurrence.UNITS if name != recurrence.COUNT)


def form_of(chosen: Sequence[SymbolicClip]) -> Array:
    """The figures of form alone, which take milliseconds where all take a second: [n, FORM]."""
    found = [recurrence.recurrence(one.entire, one.from_s, FORM_BARS) for one in chosen]
    return np.array([[one[name] for name in FORM] for one in found])


class FormEar:
    """As NotesEar, of the figures of form: a reference, and the clips that are corrupted."""

    def __init__(self, reference: Array, real: Array, n: int) -> None:
        self.n, self.held_out = n, np.nanmean(reference, axis=0)
        self.limit = np.nanquantile(self._distances(real, NULL_DRAWS, 1), 0.95, axis=0)

    def _distances(self, some: Array, count: int, seed: int) -> Array:
        random = np.random.default_rng([seed, self.n])
        weights = np.zeros((count, len(some)))
        for row in weights:
            row[random.choice(len(some), self.n, replace=False)] = 1
        return np.abs(means.weighted_means(some, weights) - self.held_out)

    def power(self, some: Array) -> dict[str, float]:
        """The share of draws that are farther than 95 % of real ones, by figure."""
        far = self._distances(some, DRAWS, 2) > self.limit + 1e-9
        return dict(zip(FORM, far.mean(0).tolist(), strict=True))


def orders(heard: dict[str, Heard], metric: str) -> dict[str, float]:
    """Spearman's correlation of the distance with the dose, of corruptions with three or more."""
    found = {}
    for rungs in RUNGS:
        there = [
            heard[row].distance[metric] for row in map(rungs.label, rungs.doses) if row in heard
        ]
        if len(there) > 2:
            found[rungs.name] = float(stats.spearmanr(range(len(there)), there).statistic)
    return found
