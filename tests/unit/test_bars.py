"""Bar lines: where signatures put them, and that they survive files, cuts and tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config import Remi
from etude.metrics.notes import features, harmony
from etude.midi import bars
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table, write_midi
from etude.systems.symbolic_lm.baselines import shuffle_bars
from etude.systems.symbolic_lm.player import after
from etude.tokenizers.symbolic.midi_tok import MidiTokTokenizer

QUARTER = 480
UPBEAT = np.array([[0, 1, 4], [QUARTER, 4, 4]])
REMI = MidiTokTokenizer(Remi(kind="remi"))

metre = st.tuples(st.integers(1, 7), st.sampled_from([2, 4, 8, 16]))
pieces = st.lists(st.tuples(metre, st.integers(1, 5)), min_size=1, max_size=4)


def lines(piece, upbeat=0):
    """Signatures of so many bars of each metre, and the bar lines."""
    signs, at = [], [0]
    if upbeat:
        signs, at = [(0, upbeat, 16)], [0, upbeat * QUARTER // 4]
    for (numerator, denominator), count in piece:
        signs.append((at[-1], numerator, denominator))
        at += [at[-1] + (i + 1) * 4 * QUARTER * numerator // denominator for i in range(count)]
    return np.array(signs, np.int64), at


def ticks_of(metre):
    return 4 * QUARTER * metre[0] // metre[1]


@settings(max_examples=100, deadline=None)
@given(pieces, st.integers(0, 15), st.integers(0, 10**5))
def test_bar_lines_are_where_they_are_counted(piece, upbeat, tick):
    length = ticks_of(piece[0][0])
    if upbeat * QUARTER // 4 < length:
        signs, at = lines(piece, upbeat)
        late = at[1] if upbeat else 0
    else:
        signs, at = lines(piece)
        late = 0
    if not late and len(piece) > 1 and length * piece[0][1] < ticks_of(piece[1][0]):
        return  # few bars of little before one of more: they are one upbeat
    tick %= at[-1]
    bar = np.searchsorted(at, tick, side="right") - 1
    place = bars.places(np.array([tick]), signs, QUARTER)
    assert place.bar[0] == bar
    missing = length - late if late and not bar else 0
    beginning = (tick - at[bar] + missing) / (at[bar + 1] - at[bar] + missing)
    assert abs(place.offset[0] / place.length[0] - beginning) < 1e-9
    assert bars.upbeat(signs, QUARTER) == late
    assert bars.bar_ticks(signs, QUARTER) == length


@settings(max_examples=100, deadline=None)
@given(pieces, st.integers(0, 10**5))
def test_bar_lines_stay_where_they_are_when_a_beginning_is_cut_off(piece, tick):
    signs, at = lines(sorted(piece, key=lambda one: -ticks_of(one[0])))
    tick = tick % at[-1] // 60 * 60  # a 128th has 15 ticks: what a signature can say
    later = np.arange(tick, at[-1], 60)
    before = bars.places(later, signs, QUARTER).bar
    rest = bars.places(later - tick, bars.behind(signs, QUARTER, tick), QUARTER).bar
    assert (np.diff(rest) == np.diff(before)).all()


def test_without_signatures_bars_have_four_quarters():
    place = bars.places(np.array([0, 1919, 1920, 5000]), bars.NONE, QUARTER)
    assert place.bar.tolist() == [0, 0, 1, 2]
    assert bars.upbeat(bars.NONE, QUARTER) == 0
    nonsense = np.array([[0, 0, 4], [7, 3, 0]])
    assert bars.places(np.array([1920]), nonsense, QUARTER).bar.tolist() == [1]


def hymn(beats=17, upbeat=1):
    """Quarters, of which the first `upbeat` stand before the first bar line."""
    onset = np.arange(beats) * QUARTER
    table = plain_table(onset, np.full(beats, QUARTER), 60 + np.arange(beats) % 12)
    signs = bars.with_upbeat(upbeat * QUARTER, QUARTER)
    return type(table)(**{**vars(table), "signatures": signs})


@pytest.mark.parametrize("upbeat", [0, 1, 2, 3])
def test_an_upbeat_survives_file_and_tokens_and_is_no_silence(upbeat, tmp_path):
    table = hymn(upbeat=upbeat)
    write_midi(table, tmp_path / "a.mid")
    found = read_midi(tmp_path / "a.mid")
    assert found.upbeat == upbeat * QUARTER
    assert found.onset[0] == 0
    ids = REMI.encode(found)
    names = [REMI.names()[i] for i in ids]
    assert names[:2] == ["Bar_None", f"Position_{8 * (-upbeat % 4)}"]
    first = [names[i + 1] for i, name in enumerate(names) if name == "Bar_None"][1:]
    assert set(first) == {"Position_0"}  # every other bar begins with its line
    again = REMI.decode(ids)
    assert again.onset.tolist() == (table.onset // 60).tolist()
    assert again.upbeat == 8 * upbeat
    assert REMI.encode(again) == ids


def test_what_speaks_of_bars_has_them_where_the_score_has():
    table = hymn()
    assert features.bars(table).tolist() == [0, *np.repeat([1, 2, 3, 4], 4)]
    grid = features.onset_grid(table, features.bars(table))
    assert np.flatnonzero(grid[0]).tolist() == [48]  # the upbeat is a fourth beat
    assert np.flatnonzero(grid[1]).tolist() == [0, 16, 32, 48]
    assert len(harmony.words(table)) == 5
    assert harmony.chords(table)[0][0] == (60,)  # the upbeat alone
    moved = shuffle_bars(table, 2)
    assert moved.pitch[0] == table.pitch[0]
    assert moved.onset.tolist() == table.onset.tolist()
    blocks = {tuple(moved.pitch[i : i + 4].tolist()) for i in range(1, 17, 4)}
    assert blocks == {tuple(table.pitch[i : i + 4].tolist()) for i in range(1, 17, 4)}
    assert moved.pitch.tolist() != table.pitch.tolist()


def test_a_waltz_has_bars_of_three():
    table = hymn(12, 0)
    waltz = type(table)(**{**vars(table), "signatures": np.array([[0, 3, 4]])})
    assert features.bars(waltz).tolist() == np.repeat([0, 1, 2, 3], 3).tolist()
    assert len(harmony.words(waltz)) == 4


def test_a_cut_table_keeps_its_bar_lines():
    rest = after(hymn(), 1.0)  # the third quarter, the second of the first whole bar
    assert rest.onset[0] == 0
    assert features.bars(rest).tolist() == [0, 0, 0, *np.repeat([1, 2, 3], 4)]
    assert rest.upbeat == 3 * QUARTER
