"""Figures of harmony and voices: by hand, by brute force, and along a ladder of corruptions."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from random import Random

import music
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ladder import Excerpt
from notes_ladder import (
    NotesEar,
    chorale,
    clips_of,
    known_changes,
    measure,
    orders,
)
from notes_ladder import (
    by_quarters as table,
)

from etude.metrics.notes import chord_changes, counterpoint, means
from etude.metrics.notes.beats import ClipBeats, read_beats
from etude.metrics.notes.clips import parted
from etude.midi import bars

TICKS = 480  # of a quarter of `table`
C, F, G = (48, 64, 67, 72), (53, 65, 69, 72), (43, 62, 67, 71)


def chords(*some, length=1.0):
    return table([(i * length, length, p) for i, chord in enumerate(some) for p in chord])


def beats_of(notes):
    return read_beats(notes, 0.0, notes.seconds)


def figures(notes):
    return counterpoint.counterpoint(notes, beats_of(notes))


# ------------------------------------------------------------------------------------------ beats


def test_beats_are_what_sounds_after_each_quarter():
    some = table([(0, 2, 60), (1, 1, 64), (3.5, 0.5, 67)])
    found = beats_of(some)
    assert found.number.tolist() == [0, 1]
    assert [np.flatnonzero(b).tolist() for b in found.sounding] == [[60], [60, 64]]
    late = beats_of(table([(q + 0.25, 1, 60 + q) for q in range(4)]))  # a phase of a sixteenth x 4
    assert [int(np.flatnonzero(b)[0]) for b in late.sounding] == [60, 61, 62, 63]


def test_a_note_that_began_before_belongs_to_the_stretch():
    held = table([(0, 8, 60), (2, 1, 64), (4, 1, 65)])
    row = {"clip": "a", "prime_seconds": "1", "heard_seconds": "1"}  # quarters 2 and 3
    one = parted(row, held)
    assert one.music.pitch.tolist() == [64]
    assert one.sounding.pitch.tolist() == [60, 64]
    found = read_beats(one.sounding, one.start_s, one.seconds)
    assert found.number.tolist() == [2, 3]
    assert found.sounding.sum(1).tolist() == [2, 1]


@pytest.mark.parametrize(
    "rows", [[], [(0, 0.01, 60)], [(0, 1, 60)], [(0, 4000, 0), (3999, 1, 127)]]
)
def test_hardly_any_notes_cost_no_error(rows):
    notes = table(rows) if rows else table([(0, 1, 60)]).at(np.zeros(0, int))
    assert set(figures(notes)) == set(counterpoint.UNITS) - {"known_changes"}
    assert counterpoint.changes(beats_of(notes)).shape == (0,) or len(rows) == 2


# ---------------------------------------------------------------------------------------- figures


def test_figures_by_hand():
    cluster = (60, 61, 62)
    found = figures(chords(C, F, G, C, C, cluster, G, C))
    assert found["chord_share"] == pytest.approx(7 / 8)
    assert found["voices"] == pytest.approx((7 * 4 + 3) / 8)
    assert found["cadences"] == pytest.approx(0)  # no chord lasts two beats
    assert figures(chords(G, C, length=2.0))["cadences"] == pytest.approx(16 * 2 / 4)
    assert figures(chords((64, 67, 72), length=4.0))["cadences"] == 0  # a sixth chord
    repeated = figures(chords(*[C, F, G, C] * 2))
    assert repeated["self_similarity"] == 1
    # Semitones: tops 72 72 71 | 72, basses 48 53 43 | 48 over the line.
    leap = figures(chords(C, F, G, C, (52, 60, 67, 84)))["bar_leap"]
    assert leap == pytest.approx((12 + 4) / 2 - np.mean([5, 1 + 10, 1 + 5]) / 2)


@pytest.mark.parametrize(
    ("signatures", "leaps"),
    [([], 4), ([(0, 1, 4), (TICKS, 4, 4)], 1), ([(0, 3, 4)], 3), ([(0, 2, 8), (TICKS, 3, 4)], 4)],
)
def test_voices_leap_over_the_bar_lines_of_the_file(signatures, leaps):
    """An octave before one beat alone: a bar line there stands out, elsewhere it is within a bar."""
    notes = chords(*[C] * leaps, *[tuple(p + 12 for p in C)] * (12 - leaps))
    notes = replace(notes, signatures=np.array(signatures, np.int64).reshape(-1, 3))
    assert figures(notes)["bar_leap"] > 0
    elsewhere = replace(notes, signatures=bars.with_upbeat((leaps + 1) % 4 * TICKS, TICKS))
    assert figures(elsewhere)["bar_leap"] < 0


def test_dissonance_is_the_mean_of_all_pairs():
    chord = (48, 55, 58, 64, 65, 72)
    expected = np.mean(
        [
            -counterpoint.CONSONANCE[min((b - a) % 12, (a - b) % 12) - 1]
            for a, b in combinations(chord, 2)
            if (b - a) % 12
        ]
    )
    assert figures(chords(chord))["dissonance"] == pytest.approx(expected)
    assert figures(chords((48, 55)))["dissonance"] == pytest.approx(-1.240)
    assert np.isnan(figures(chords((48, 60)))["dissonance"])


def test_a_change_is_the_same_in_every_transposition():
    plain = counterpoint.changes(beats_of(chords(C, F, F, G)))
    assert len(plain) == 2
    for shift in range(1, 12):
        moved = [[p + shift for p in chord] for chord in (C, F, F, G)]
        assert counterpoint.changes(beats_of(chords(*moved))).tolist() == plain.tolist()
    assert (
        counterpoint.changes(beats_of(chords(C, F)))[0]
        != counterpoint.changes(beats_of(chords(F, C)))[0]
    )


@given(st.integers(1, 4095), st.integers(1, 4095))
def test_the_least_transposition_by_brute_force(first, second):
    def turned(mask, by):
        return sum(1 << (k + by) % 12 for k in range(12) if mask >> k & 1)

    expected = min(turned(first, k) << 12 | turned(second, k) for k in range(12))
    found = counterpoint.least_transposition(np.array([first]), np.array([second]))
    assert found.tolist() == [expected]


def test_voices_cross_where_a_higher_track_is_below():
    none = np.zeros((4, 128), bool)
    tracks = np.array([[72, 60], [72, 60], [58, 60], [72, -1]])
    beats = ClipBeats(np.arange(4), none, tracks, np.zeros(4, int))
    found = counterpoint.voice_crossing(beats)
    assert found == pytest.approx(1 / 3)
    for few in (np.zeros((4, 0), int), np.full((4, 1), 60)):
        assert np.isnan(counterpoint.voice_crossing(replace(beats, tracks=few)))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 6), st.integers(40, 80)),
        min_size=1,
        max_size=40,
    ),
    st.integers(-12, 12),
)
def test_transposition_and_tempo_change_nothing(rows, shift):
    halves = [(o / 2, d / 2, p) for o, d, p in rows]
    plain = table(halves)
    moved = table([(o, d, p + shift) for o, d, p in halves], tempo=450_000)
    assert figures(moved) == pytest.approx(figures(plain), nan_ok=True)
    found = figures(plain)
    for metric in ("chord_share", "self_similarity"):
        assert np.isnan(found[metric]) or 0 <= found[metric] <= 1


def test_the_changes_of_the_training_split_are_written_and_read(tmp_path):

    files = [music.chorale(tmp_path / f"{i}.mid", Random(i), 16) for i in range(3)]
    (tmp_path / "bad.mid").write_bytes(b"no midi")
    files.append(tmp_path / "bad.mid")
    how = {"settings": {"seconds": 60.0, "pieces": 4.0}, "threads": 1}
    chord_changes.count_changes(files, tmp_path / "c.csv", **how)
    known = chord_changes.read_changes(tmp_path / "c.csv")
    assert known.tolist() == sorted(set(known.tolist()))
    for path in files[:3]:
        assert np.isin(chord_changes.changes_of(60.0, str(path)), known).all()
    chord_changes.count_changes([], tmp_path / "none.csv", **how)
    assert chord_changes.read_changes(tmp_path / "none.csv").shape == (0,)


# ------------------------------------------------------------------------------------------ means


def test_means_leave_out_what_is_not_there():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 2.0]])
    assert means.mean_of(values).tolist() == [3, 2]
    found = means.weighted_means(values, np.array([[1.0, 1, 0]]))[0]
    assert found[0] == 2
    assert np.isnan(found[1])
    assert means.evaluate(np.zeros(4), -np.ones(3)) == {"mean": -1, "mean_from_real": 1}


def test_replicates_draw_whole_pieces_and_pair():
    weights = means.drawn_weights(["a", "a", "b", "c"], 50, 1)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all()
    again = means.drawn_weights(["x", "y", "z"], 50, 1)
    assert (again == weights[:, [0, 2, 3]]).all()


def test_the_interval_of_a_distance_covers_it():
    """95 % intervals of |difference| of two sets of clips of pieces: 120 pairs, true distance 0.5."""
    generator, held = np.random.default_rng(0), 0
    pieces = [f"p{i // 2}" for i in range(80)]
    drawn = [means.drawn_weights(pieces, 100, side) for side in (0, 1)]
    for _ in range(120):
        real, made = (
            np.repeat(shift + generator.standard_normal(40), 2) + generator.standard_normal(80)
            for shift in (0.5, 0.0)
        )
        pairs = zip((real, made), drawn, strict=True)
        apart = [means.weighted_means(v[:, None], w)[:, 0] for v, w in pairs]
        value, replicates = means.distance(made.mean() - real.mean(), apart[1] - apart[0])
        low, high = means.interval(value, replicates)
        held += low <= 0.5 <= high
    assert held >= 105  # nominal 114; 100 replicates and 40 pieces cost a little


# ----------------------------------------------------------------------------------------- ladder


@pytest.fixture(scope="module")
def ear():
    """40 pieces to be corrupted, 40 of reference, 40 whose changes are known; clips of 8 s."""
    pieces = [chorale(i) for i in range(120)]
    known = known_changes(pieces[80:])
    excerpts = [Excerpt(f"piece {i}", p, 2.0 + 0.37 * (i % 7), 8.0) for i, p in enumerate(pieces)]
    made, held = excerpts[:40], excerpts[40:80]
    real = measure(clips_of(made), known)
    return NotesEar(measure(clips_of(held), known), real, sizes=(24,)), made, known


CHORDS = {"chord_share", "dissonance", "known_changes"}
HARMONY = CHORDS | {"symbolic_frechet"}
MELODY = {"voices", "bar_leap", "cadences"}
# Rows of the ladder, the figures that hear each with power >= 0.9 at 24 clips, and those that are
# deaf to it (<= 0.3).
PINNED = [
    ("wrong notes 0.05", HARMONY, {"voices"}),
    ("wrong notes 0.1", HARMONY | {"cadences"}, {"voices"}),
    ("wrong notes 0.2", HARMONY | {"cadences"}, {"voices"}),
    ("wrong notes 0.4", HARMONY | {"cadences", "bar_leap"}, set()),
    ("permuted 1", HARMONY | {"cadences", "bar_leap"}, set()),
    ("bars shuffled", {"known_changes", "bar_leap"}, {"chord_share", "dissonance", "cadences"}),
    ("random notes in key", HARMONY | {"cadences"}, set()),
    ("one chord", {"dissonance", "self_similarity", "symbolic_frechet"} | MELODY, {"chord_share"}),
    ("voices dropped 1", {"voices"}, {"chord_share", "cadences"}),
    ("transposed", set(), HARMONY | MELODY),
    ("tempo 0.9", set(), CHORDS | MELODY),
    ("tempo 1.1", set(), CHORDS | MELODY),
]


@pytest.mark.slow
def test_the_small_ladder_of_notes(ear):
    """Pinned on music made by code; the whole on real music is bench_notes_ladder.py."""
    listener, made, known = ear
    heard = {}
    for row, hears, deaf in PINNED:
        heard[row] = listener.hear(measure(clips_of(made, row), known))
        power = heard[row].power[24]
        assert {f for f in hears if not power[f] >= 0.9} == set(), row
        assert {f for f in deaf if power[f] > 0.3} == set(), row
    assert all(orders(heard, figure)["wrong notes"] == 1 for figure in HARMONY)
