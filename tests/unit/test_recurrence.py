"""Whole bars and their recurrence: by hand, by brute force, and along the ladder of corruptions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ladder import Excerpt, Notes
from notes_ladder import (
    FORM,
    QUARTER,
    FormEar,
    chorale,
    clips_of,
    form_of,
    known_changes,
    measure,
)
from notes_ladder import (
    by_quarters as table,
)

from etude.metrics.notes.clips import read_symbolic
from etude.metrics.notes.measure import measure_clip
from etude.metrics.notes.recurrence import (
    FEWEST,
    UNITS,
    bar_similarity,
    bright_ratio,
    evaluate,
    piano_roll,
    recurrence,
    section_recurrence,
    similarity_matrix,
)
from etude.metrics.notes.score import SHORT, score_sets
from etude.metrics.notes.whole_bars import MOST, whole_bars
from etude.midi.writing import write_midi

BAR = 2.0  # seconds of four quarters at 120 a minute


def bars_of(*pitches):
    """A bar of four quarters for each: repeated notes of one pitch, or a bar without any."""
    return table(
        [(4 * i + q, 1, p) for i, p in enumerate(pitches) for q in range(4) if p is not None]
    )


measured = recurrence


# ------------------------------------------------------------------------------------ whole bars


def test_parts_of_bars_are_left_out():
    notes = bars_of(*range(60, 70))
    whole = whole_bars(notes, 0.0, notes.seconds)
    assert (whole.count, whole.first) == (10, 0)
    assert whole.onset.tolist() == pytest.approx([b + q / 4 for b in range(10) for q in range(4)])
    part = whole_bars(notes, 1.0, 7.0)  # from the middle of bar 0 to the end of bar 3
    assert (part.count, part.first) == (3, 1)
    assert sorted(set(part.notes.pitch.tolist())) == [61, 62, 63]
    assert whole_bars(notes, 1.0, 2.9).count == 0
    # Times in clips.csv are rounded: a bar line at 2.0004 is one at 2.
    assert whole_bars(notes, 2.0004, 3.9998).count == 2


def test_notes_that_ring_over_the_line_sound_in_the_next_bar_and_begin_in_none():
    notes = table([(0, 8, 60), (4, 4, 64), (8, 4, 67)])
    found = whole_bars(notes, 2.0, 4.0)
    assert (found.count, found.first) == (2, 1)
    assert found.notes.pitch.tolist() == [60, 64, 67]
    assert found.onset.tolist() == [-1, 0, 1]


def test_the_last_bar_of_a_piece_counts_and_silence_does_not():
    rests = bars_of(None, 60, 62, None, 64)
    short = rests.at(rests.onset < 17 * QUARTER)  # of the last bar one quarter
    found = whole_bars(short, 0.0, short.seconds)
    assert (found.first, found.count) == (1, 4)
    assert whole_bars(short, 0.0, 60.0).count == 4  # what follows is silence
    assert whole_bars(short, 0.0, 9.5).count == 4  # the piece ends within the stretch
    long = bars_of(None, 60, 62, None, 64)
    assert whole_bars(long, 0.0, 9.5).count == 3


def test_a_note_that_is_released_late_makes_no_bar():
    late = table([(4 * b + q, 1, 60) for b in range(8) for q in range(4)] + [(31, 1.1, 72)])
    assert whole_bars(late, 0.0, late.seconds).count == 8
    held = table([(4 * b + q, 1, 60) for b in range(8) for q in range(4)] + [(31, 1.5, 72)])
    assert whole_bars(held, 0.0, held.seconds).count == 9


def test_bars_are_where_the_signatures_put_them():
    """An upbeat of a quarter, then three quarters a bar."""
    signatures = np.array([[0, 1, 4], [QUARTER, 3, 4]])
    notes = replace(table([(q, 1, 60) for q in range(10)]), signatures=signatures)
    found = whole_bars(notes, 0.0, notes.seconds)
    assert (found.count, found.first) == (3, 1)
    assert found.onset.tolist() == pytest.approx([q / 3 for q in range(9)])


def test_bars_are_found_through_changes_of_tempo():
    """Bar 0 lasts 2 s, bar 1 and on 4 s."""
    tempos = np.array([[0, 500_000], [4 * QUARTER, 1_000_000]])
    notes = replace(bars_of(60, 61, 62, 63), tempos=tempos)
    found = whole_bars(notes, 2.0, 8.0)
    assert (found.count, found.first) == (2, 1)
    assert whole_bars(notes, 2.1, 8.0).count == 1


@pytest.mark.parametrize("rows", [[], [(0, 1, 60)], [(0, 1, 60), (40_000, 1, 60)]])
def test_hardly_any_notes_and_endless_ones_cost_no_error(rows):
    notes = table(rows) if rows else bars_of(60).at(np.zeros(0, int))
    found = whole_bars(notes, 0.0, max(notes.seconds, 1.0))
    assert 0 <= found.count <= MOST
    assert set(measured(notes)) == set(UNITS)


# --------------------------------------------------------------------------------------- figures

A, B, C = (60, 62, 64, 65), (67, 69, 71, 72), (48, 50, 52, 53)


def test_sections_that_come_back_count_each_time():
    plain = measured(bars_of(*A, *B, *C))
    assert plain == {
        "bars": 12, "bar_similarity": 0, "bright_ratio": 0, "section_recurrence": 0,
    }  # fmt: skip
    once = measured(bars_of(*A, *B, *A))
    assert once["section_recurrence"] == pytest.approx(4 / 12)
    assert once["bar_similarity"] == pytest.approx(8 / 12)
    assert once["bright_ratio"] == pytest.approx(4 / (12 * 11 / 2))
    thrice = measured(bars_of(*A, *B, *A, *A))  # A-A twice as neighbours, once over B: 4 + 4 + 4
    assert thrice["section_recurrence"] == pytest.approx(12 / 16)
    assert measured(bars_of(*A, *B[:3], *C[:1], *A[::-1]))["section_recurrence"] == 0
    assert measured(bars_of(*A[:3], *B, *C, *A[:3]))["section_recurrence"] == 0  # three bars only


def test_one_bar_over_and_over_is_no_section():
    found = measured(bars_of(*[60] * 16))
    assert (found["bright_ratio"], found["bar_similarity"]) == (1, 1)
    assert found["section_recurrence"] == 0


def test_a_clip_of_seven_bars_has_no_form():
    for notes, count in ((bars_of(*[60] * 7), 7), (bars_of(*[60] * 3), 3)):
        found = measured(notes)
        assert found.pop("bars") == count < FEWEST
        assert np.isnan(list(found.values())).all()
    assert not np.isnan(list(measured(bars_of(*[60] * 8)).values())).any()


def test_a_bar_is_like_another_by_what_sounds_and_no_bar_is_like_silence():
    notes = table([(0, 4, 60), (4, 2, 60), (8, 4, 60), (8, 4, 64), (16, 4, 61)])
    matrix = similarity_matrix(piano_roll(whole_bars(notes, 0.0, notes.seconds)))
    assert matrix[0, 1] == pytest.approx(0.5**0.5)  # half of the time
    assert matrix[0, 2] == pytest.approx(0.5**0.5)  # one of two pitches
    assert matrix[3].tolist() == [0] * 5  # a rest
    assert matrix[0, 4] == 0


def brute_force(matrix, threshold=0.5, least=4):
    """The same in the words of the definition, pair by pair."""
    n, counted = len(matrix), 0
    for lag in range(1, n):
        i = 0
        while i + lag < n:
            j = i
            while j + lag < n and matrix[j, j + lag] > threshold:
                j += 1
            dark = all(
                not (k + lag + 1 < n and matrix[k, k + lag + 1] > threshold) for k in range(i, j)
            )
            counted += (j - i) * (j - i >= least and dark)
            i = max(j, i + 1)
    return counted / n


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 24), st.integers(0, 2**32 - 1), st.floats(0.2, 0.9))
def test_recurrence_by_brute_force(bars, seed, share):
    random = np.random.default_rng(seed)
    matrix = (random.random((bars, bars)) < share).astype(float)
    matrix = np.maximum(matrix, matrix.T)
    for lag in random.integers(1, bars - 4, 2):  # diagonals that are bright over a stretch
        at = np.arange(random.integers(0, bars - lag - 3), bars - lag)
        matrix[at, at + lag] = matrix[at + lag, at] = 1.0
    assert section_recurrence(matrix) == pytest.approx(brute_force(matrix))
    assert 0 <= bright_ratio(matrix) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(-12, 12), st.permutations(range(12)))
def test_what_does_not_change_it(seed, shift, order):
    """Transposition and tempo change nothing; the order of bars changes sections alone."""
    random = np.random.default_rng(seed)
    bars = random.integers(50, 56, (12, 4))
    notes = table([(4 * b + q, 1, p) for b in range(12) for q, p in enumerate(bars[b].tolist())])
    plain = measured(notes)
    moved = replace(notes, pitch=notes.pitch + shift, tempos=np.array([[0, 400_000]]))
    assert measured(moved) == pytest.approx(plain)
    matrix = similarity_matrix(piano_roll(whole_bars(notes, 0.0, notes.seconds)))
    turned = matrix[np.ix_(order, order)]
    assert bright_ratio(turned) == pytest.approx(bright_ratio(matrix))
    assert bar_similarity(turned) == pytest.approx(bar_similarity(matrix))
    assert evaluate(matrix)["section_recurrence"] == pytest.approx(plain["section_recurrence"])


def test_form_is_of_the_entire_clip_and_of_real_music_the_piece(tmp_path):
    """Whatever stretch of it is heard; what stands before the prime's end is not the clip's."""
    long = bars_of(*A, *B, *A)
    write_midi(long, tmp_path / "set/a.mid")
    write_midi(long, tmp_path / "piece.mid")
    rows = "clip,file,seconds,prime_seconds,heard_seconds,piece,start_s"
    own, real = "a,a.wav,24,2,2,,", "b,b.wav,2,,,p,9"
    (tmp_path / "set/clips.csv").write_text(f"{rows}\n{own}\n{real}\n")
    clips = read_symbolic(tmp_path / "set", pieces={"p": tmp_path / "piece.mid"}).clips
    assert [len(one.music) for one in clips] == [4, 4]
    made, piece = (measure_clip(one, with_harmony=False)["features"] for one in clips)
    assert (made["bars"], piece["bars"]) == (11, 12)
    assert piece["section_recurrence"] == pytest.approx(4 / 12)
    few = measure_clip(clips[1], with_harmony=False, form_bars=8)["features"]
    assert (few["bars"], few["section_recurrence"]) == (12, 0)


def test_short_clips_have_a_reason_in_their_row():
    excerpts = [Excerpt(f"song {i}", chorale(i, 5), 0.0, 10.0) for i in range(12)]
    known = known_changes([one.notes for one in excerpts[8:]])
    sets = {"reference": excerpts[:4], "generated": excerpts[4:8]}
    how = {"smoothing": "jeffreys", "compat": "", "replicates": 4}
    rows, _ = score_sets({k: measure(clips_of(v), known) for k, v in sets.items()}, how)
    found = {r["metric"]: r for r in rows if r["clips"] == "generated"}
    for metric in ("section_recurrence", "bright_ratio_from_real"):
        assert found[metric]["note"] == f"n/a: {SHORT}"
    assert float(found["bars"]["value"]) == 5
    assert "bars_from_real" not in found


# ---------------------------------------------------------------------------------------- ladder


def song(seed):
    """A A B B A B, four bars each, of a made chorale: 48 s."""
    notes = chorale(seed, bars=8)
    bar = np.floor(notes.onset / BAR + 1e-6).astype(int)
    parts = []
    for place, section in enumerate((0, 0, 1, 1, 0, 1)):
        of = notes.at(bar // 4 == section)
        move = 4 * BAR * (place - section)
        parts.append((of.onset + move, of.end + move, of.pitch, of.velocity, of.voice))
    return Notes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


SIZE = 24
# Rows of the ladder, the figures that hear each with power >= 0.9 at 24 clips, and those that are
# deaf to it (<= 0.3).
EVERY = set(FORM)
PINNED = [
    ("bars shuffled", {"section_recurrence", "bar_similarity"}, set()),
    ("wrong notes 0.1", {"bar_similarity"}, set()),
    ("wrong notes 0.4", EVERY, set()),
    ("random notes in key", EVERY, set()),
    ("one chord", {"section_recurrence", "bright_ratio"}, set()),
    ("transposed", set(), EVERY),
    ("tempo 0.9", set(), EVERY),
]


@pytest.mark.slow
def test_the_small_ladder_of_form():
    """Pinned on music made by code; the whole on real music is bench_notes_ladder.py.

    Of 16 whole bars; 32 songs are corrupted, 32 are of reference.
    """
    pieces = [song(i) for i in range(64)]
    excerpts = [Excerpt(f"song {i}", p, 0.2 + 0.3 * (i % 6), 8.0) for i, p in enumerate(pieces)]
    made, held = excerpts[:32], excerpts[32:]
    real = form_of(clips_of(made))
    ear = FormEar(form_of(clips_of(held)), real, SIZE)
    means = dict(zip(FORM, real.mean(0), strict=True))
    assert means["section_recurrence"] > 0.2  # B B: 4 of 16
    for row, hears, deaf in PINNED:
        power = ear.power(form_of(clips_of(made, row)))
        assert {f for f in hears if not power[f] >= 0.9} == set(), (row, power)
        assert {f for f in deaf if power[f] > 0.3} == set(), (row, power)
    shuffled = form_of(clips_of(made, "bars shuffled"))
    assert shuffled.mean(0)[FORM.index("section_recurrence")] < 0.05
