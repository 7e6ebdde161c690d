"""The search by chroma: copies in any key and at nearly any tempo; the attacks that plant them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config import Filter, Render
from etude.metrics.memorisation import attacks, chroma, notes
from etude.metrics.memorisation.catalogue import NOTHING, Match
from etude.metrics.memorisation.excerpts import Excerpt
from etude.metrics.memorisation.fingerprint import RATE
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table, write_midi
from tests.unit.test_memorisation import Heard, music, table


def harmonies(seed, frames=300):
    """A feature of random chords of 0.4 to 1 s."""
    random = np.random.default_rng(seed)
    rows = []
    while len(rows) < frames:
        pitches = random.choice(12, 3, replace=False)
        chord = np.isin(np.arange(12), pitches).astype(np.float32)
        rows += [chord] * int(random.integers(4, 11))
    found = np.array(rows[:frames]) / np.sqrt(3)
    return (found - found.mean(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def known():
    return chroma.Chroma.build((f"p{seed}", harmonies(seed)) for seed in range(14))


@pytest.mark.slow
@given(st.integers(0, 13), st.integers(0, 220), st.sampled_from([17, 20, 47, 77]))
@settings(max_examples=40, deadline=None)
def test_exact_copies_are_always_found(known, piece, begin, length):
    (match,) = known.search([harmonies(piece)[begin : begin + length]])
    if length > 40:  # of 2 s, some are as much like other music that runs backwards (1 in 100)
        assert match.piece == f"p{piece}"
        assert match.start_s - match.clip_start_s == pytest.approx(begin / 10, abs=0.35)
        assert match.thirds == 0
    common = 0.5 if length > 40 else 0.55  # chance likeness of other pieces, at the most
    assert match.score > 0.97 - common


@pytest.mark.slow
@given(st.integers(0, 99), st.integers(1, 11), st.sampled_from([20, 77, 130]))
@settings(max_examples=40, deadline=None)
def test_scores_are_free_of_key(known, seed, key, length):
    clip = harmonies(seed)[100 : 100 + length]
    plain, turned = known.search([clip, np.roll(clip, key, axis=1)])
    assert turned.score == pytest.approx(plain.score, abs=1e-4)
    if plain.score > 0.4:
        assert (turned.piece, turned.start_s) == (plain.piece, plain.start_s)
        assert (turned.thirds - plain.thirds) % 36 == 3 * key


def test_equal_searches_find_equal_matches(known, tmp_path):
    clips = [harmonies(3)[40:117], harmonies(50)[:20], harmonies(7)[33:53]]
    known.save(tmp_path / "chroma.npz")
    again = chroma.Chroma.load(tmp_path / "chroma.npz")
    assert again.search(clips) == known.search(clips)
    assert again.search(clips[::-1])[::-1] == known.search(clips), "in any order"


def test_what_every_piece_has_is_no_sign_of_a_copy():
    """The same words in all pieces score less than those of one."""
    cadence = harmonies(200, 80)
    pieces = [np.concatenate([harmonies(seed, 150), cadence]) for seed in range(14)]
    music_of_all = chroma.Chroma.build((f"p{i}", piece) for i, piece in enumerate(pieces))
    shared, own = music_of_all.search([cadence[:77], pieces[4][20:97]])
    assert shared.score == pytest.approx(1 - chroma.COMMON, abs=0.02)
    assert own.score > shared.score + 0.1


@pytest.fixture(scope="module")
def played():
    """Twelve pieces as they sound."""
    return chroma.Chroma.build((f"p{s}", chroma.features(music(s, 14.0))) for s in range(12))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transpose", "speed"), [(0, 1), (1, 1), (-2, 1), (4, 1), (-6, 1), (2.5, 1), (0, 1.1), (0, 0.9)]
)
def test_copies_in_another_key_or_tempo_are_found(played, transpose, speed):
    # `speed` moves pitch as well, as a tape does.
    waves = [music(seed, 16.0, transpose, speed)[2 * RATE : 10 * RATE] for seed in (5, 8)]
    others = [music(seed, 8.0) for seed in range(60, 66)]
    found = played.search([chroma.features(wave) for wave in [*waves, *others]])
    assert [match.piece for match in found[:2]] == ["p5", "p8"]
    assert min(m.score for m in found[:2]) > max(m.score for m in found[2:]) + 0.05
    assert found[0].start_s - found[0].clip_start_s == pytest.approx(2 * speed, abs=0.5)


def test_copies_played_backwards_are_found(played):
    waves = [music(seed, 16.0)[2 * RATE : 10 * RATE][::-1] for seed in (5, 8)]
    others = [music(seed, 8.0)[::-1] for seed in range(60, 66)]
    found = played.search([chroma.features(wave) for wave in [*waves, *others]])
    assert [match.piece for match in found[:2]] == ["p5", "p8"]
    assert min(m.score for m in found[:2]) > max(m.score for m in found[2:]) + 0.05


def test_short_silent_and_unknown_clips(known):
    short, silent = known.search([harmonies(2)[50:53], np.zeros((20, 12), np.float32)])
    assert short.score <= 1.0
    assert silent == Match(NOTHING)
    assert chroma.Chroma.build([]).search([harmonies(0)]) == [Match(NOTHING)]
    brief = chroma.Chroma.build([("short", harmonies(1, 12))])
    assert brief.search([harmonies(1, 12)])[0].piece == "short"
    assert not chroma.features(np.zeros(2 * RATE)).any()
    with pytest.raises(ValueError, match="finite"):
        chroma.features(np.array([np.nan]))


def test_features_do_not_depend_on_level():
    wave = music(1, 4.0)
    np.testing.assert_allclose(chroma.features(0.1 * wave), chroma.features(wave), atol=1e-3)


# ------------------------------------------------------------------------------------ attacks


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A piece of single notes, a new one each half second."""
    path = tmp_path_factory.mktemp("midi") / "p.mid"
    pitch = 60 + np.array([0, 4, 7, 2, 5, 9, 11, 1, 6, 3, 8, 10] * 4)
    onset = np.arange(len(pitch)) * 480
    write_midi(plain_table(onset, np.full(len(pitch), 440), pitch, ticks_per_quarter=480), path)
    wave = music(0, 30.0)
    return attacks.CopyMaker(Heard(lambda _: wave), RATE, {"p": path}, Render(), Filter(), None, 0)


def heard(studio, attack, number=0):
    """Pitch class of each frame, -1 where none sounds."""
    wave = studio.make(attack, Excerpt("p", 6.0, 8.0), 2.0, number)
    assert len(wave) == 8 * RATE
    feature = chroma.features(wave)
    return np.where(feature.any(1), feature.argmax(1), -1)


@pytest.mark.slow
@pytest.mark.parametrize("attack", attacks.SEMITONES)
def test_transposed_copies_are_as_much_higher_as_they_say(studio, attack):
    for number, semitones in enumerate(attacks.SEMITONES[attack]):
        moved = (heard(studio, attack, number) - heard(studio, "other_voice")) % 12
        assert np.mean(moved == semitones % 12) > 0.7


@pytest.mark.parametrize(("attack", "tempo"), attacks.TEMPI.items())
def test_copies_at_another_tempo_keep_their_pitches(studio, attack, tempo):
    plain, other = heard(studio, "other_voice"), heard(studio, attack)
    at = np.arange(len(other)) * tempo
    same = other == plain[np.minimum(np.round(at).astype(int), len(plain) - 1)]
    assert np.mean(same[at < len(plain)]) > 0.75
    assert np.mean(other == plain) < 0.6


def test_a_reversed_copy_is_backwards(studio):
    excerpt = Excerpt("p", 6.0, 2.0)
    np.testing.assert_array_equal(
        studio.make("reversed", excerpt, 2.0), studio.make("exact", excerpt, 2.0)[::-1]
    )


def test_notes_are_attacked_likewise(studio):
    whole = read_midi(studio.midi["p"])
    faster = notes.attacked(whole, "faster_10pc")
    np.testing.assert_allclose(faster.onset * 1.1, whole.onset, atol=0.6)
    assert notes.attacked(whole, "third_down", 1).pitch.tolist() == (whole.pitch - 4).tolist()
    twice = notes.attacked(notes.attacked(table(3), "reversed"), "reversed")
    first = table(3).onset.min()
    assert sorted(zip(twice.pitch, twice.onset, strict=True)) == sorted(
        zip(table(3).pitch, table(3).onset - first, strict=True)
    )
    backwards = notes.attacked(whole, "reversed")
    assert backwards.pitch.tolist() == whole.pitch[::-1].tolist()
