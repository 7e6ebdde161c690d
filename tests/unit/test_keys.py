"""The key of a piece: what is in each profile, what is found, what a file says of it."""

from __future__ import annotations

import numpy as np
import pytest
import symusic
from hypothesis import given
from hypothesis import strategies as st

from etude.midi.keys import MAJOR, MINOR, Key, find_key, profiles, written_key
from etude.midi.notes import DRUMS
from etude.midi.writing import plain_table, to_score
from etude.tokenizers.symbolic.base import transposed

NAMES = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]


def scale(key: Key, **options):
    """A scale up and down that ends on its tonic."""
    steps = MINOR if key.minor else MAJOR
    pitch = 60 + key.tonic + np.array([*steps, 12, *steps[::-1], 0, *np.array(steps)[[0, 2, 4]], 0])
    return plain_table(480 * np.arange(len(pitch)), np.full(len(pitch), 480), pitch, **options)


def file_with(*signs, quarters=16):
    """A file with key signatures (quarter, fifths, minor)."""
    score = to_score(plain_table(np.array([0]), np.array([480 * quarters]), np.array([60])))
    for quarter, fifths, minor in signs:
        score.key_signatures.append(
            symusic.KeySignature(480 * quarter, fifths, minor, ttype="tick")
        )
    return bytes(score.dumps_midi())


def test_the_profiles_by_hand():
    table = profiles("float")
    assert table[0].tolist() == [2, 0, 1, 0, 1.5, 1, 0, 1.5, 0, 1, -1, 1]
    assert table[12 + 9].tolist() == [1.5, 0, 1, 0, 1.5, 1, 0, 1, 0, 2, -1, 1]
    assert table[2].tolist() == np.roll(table[0], 2).tolist()
    whole = profiles("integer")
    assert whole[0].tolist() == [2, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]
    assert set(np.unique(whole)) == {0, 1, 2}


def test_a_shift_is_the_nearest():
    assert [Key(t, False).shift for t in range(12)] == [0, -1, -2, -3, -4, -5, 6, 5, 4, 3, 2, 1]
    assert Key(9, True).shift == 0
    assert Key(0, True).shift == -3


@pytest.mark.parametrize("minor", [False, True])
@pytest.mark.parametrize("tonic", range(12), ids=NAMES)
def test_a_scale_has_its_key(tonic, minor):
    key = Key(tonic, minor)
    assert find_key(scale(key)) == key


@given(st.lists(st.integers(20, 100), min_size=1, max_size=30), st.integers(-12, 12))
def test_a_key_moves_with_the_notes(pitches, semitones):
    """Moved by what is said the piece is in C major or A minor, wherever it was."""
    song = plain_table(480 * np.arange(len(pitches)), np.full(len(pitches), 480), np.array(pitches))
    key = find_key(transposed(song, semitones))
    home = find_key(transposed(song, semitones + key.shift))
    score = profiles("float") @ np.bincount(transposed(song, semitones).pitch % 12, minlength=12)
    if (score == score.max()).sum() == 1:  # else which of them depends on their order
        assert (home.tonic, home.minor) == (9 if key.minor else 0, key.minor)


def test_loud_and_long_notes_count_more():
    soft = plain_table(np.zeros(2), np.array([480, 4800]), np.array([60, 67]))
    assert find_key(soft).tonic == 7
    loud = plain_table(
        np.zeros(2), np.full(2, 480), np.array([60, 67]), velocity=np.array([127, 1])
    )
    assert find_key(loud).tonic == 0


def test_drums_have_no_key():
    drums = plain_table(np.array([0]), np.array([480]), np.array([42]), program=DRUMS)
    assert find_key(drums) == Key(0, False)


def test_a_file_says_its_key():
    assert written_key(file_with()) is None
    assert written_key(file_with((0, 2, 0))) == Key(2, False)
    assert written_key(file_with((0, 0, 1))) == Key(9, True)
    assert written_key(file_with((0, -3, 1))) == Key(0, True)
    assert written_key(file_with((0, 7, 0))) == Key(1, False)


def test_of_several_keys_the_longest_counts():
    assert written_key(file_with((0, 2, 0), (4, -1, 0))) == Key(5, False)
    assert written_key(file_with((0, 2, 0), (4, -1, 0), (9, 2, 0))) == Key(2, False)
