"""Melodies and runs of bars in the training music: by hand, by brute force, and to the rows."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notes_ladder import QUARTER, chorale, table_of
from notes_ladder import by_quarters as table

from etude.config import Memorisation
from etude.metrics.memorisation import melody, tunes
from etude.metrics.memorisation.bar_runs import PLACES, BarRun, BarRuns, bars_of, elements
from etude.metrics.memorisation.excerpts import CorpusPieces
from etude.metrics.memorisation.find import SearchedClips
from etude.metrics.memorisation.melody import FEWEST, Melodies, melody_words
from etude.metrics.memorisation.notes import NoteIndex, attacked
from etude.metrics.memorisation.rows import clip_rows, tidy
from etude.metrics.memorisation.tunes import AUDIO_ONLY, BARS, MELODY, NO_MUSIC, Tunes
from etude.midi.writing import write_midi


def tune(seed, notes=40):
    """A melody of quarters and eighths without rests, over a held bass."""
    random = np.random.default_rng(seed)
    length = random.choice([0.5, 1.0], notes)
    onset = np.cumsum(length) - length
    pitch = random.integers(67, 84, notes).tolist()
    rows = list(zip(onset, length, pitch, strict=True))
    return table([*rows, (0, float(onset[-1]), 40)])


def between(notes, first, last):
    """Quarters of a piece."""
    return notes.at((notes.onset >= first * QUARTER) & (notes.onset < last * QUARTER))


def moved(notes, semitones):
    return replace(notes, pitch=(notes.pitch + semitones).astype(np.int16))


# ---------------------------------------------------------------------------------------- melody


def test_a_melody_is_the_highest_voice_in_any_key_and_at_any_resolution():
    notes = table([(0, 1, 72), (1, 1, 74), (1, 1, 60), (2, 2, 71), (2.5, 0.5, 60)])
    words = melody_words(notes)
    assert len(words) == 2
    assert melody_words(moved(notes, 5)).tolist() == words.tolist()
    finer = replace(
        notes, onset=notes.onset * 2, duration=notes.duration * 2, ticks_per_quarter=2 * QUARTER
    )
    assert melody_words(finer).tolist() == words.tolist()
    assert melody_words(notes.at(notes.pitch != 60)).tolist() == words.tolist()
    slower = replace(notes, onset=notes.onset * 2, duration=notes.duration * 2)
    assert melody_words(slower).tolist() != words.tolist()


@pytest.fixture(scope="module")
def known():
    return Melodies([tune(i) for i in range(30)])


@pytest.mark.parametrize("semitones", [0, -4, 7])
def test_a_copied_melody_is_found_under_other_music(known, semitones):
    copy = moved(between(tune(11), 6, 22), semitones)
    chords = table([(q, 1, 45 + q % 5) for q in range(6, 22)])
    mixed = replace(
        copy,
        **{k: np.concatenate([getattr(copy, k), getattr(chords, k)]) for k in (
            "onset", "duration", "pitch", "velocity", "program", "track",
        )},
    )  # fmt: skip
    found = known.search(mixed.at(mixed.order()))
    assert (found.similarity, found.top_two, found.piece) == (1, 0, 11)
    own = known.words[11].tolist()
    first = melody_words(copy).tolist()[0]
    assert abs(found.at - own.index(first)) <= 1
    other = known.search(between(tune(99), 6, 22))
    assert other.similarity < 0.5
    assert other.top_two > 0.8


def test_the_rate_is_of_the_clips_words():
    """Two of twelve notes are others: each spoils the interval before and the one behind it."""
    notes = table(
        [(q, 1, p) for q, p in enumerate([60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79])]
    )
    wrong = notes.pitch.copy()
    wrong[[4, 9]] += 3
    found = Melodies([notes, tune(1)]).search(replace(notes, pitch=wrong))
    assert found.similarity == pytest.approx(1 - 4 / 11)
    assert found.piece == 0


def test_what_two_pieces_have_is_of_neither_and_one_piece_has_no_second():
    """As in the original: of two rates of 0 the ratio is 0, and the clip is not new."""
    clip = between(tune(5), 4, 20)
    assert Melodies([tune(5), tune(5)]).search(clip).top_two == 0
    alone = Melodies([tune(5)]).search(clip)
    assert alone.similarity == 1
    assert np.isnan(alone.top_two)


def test_short_melodies_and_empty_corpora_tell_nothing(known):
    assert known.search(between(tune(3), 0, 3)) is None
    assert len(melody_words(between(tune(3), 0, 3))) < FEWEST
    assert known.search(tune(3).at(np.zeros(0, int))) is None
    assert Melodies([]).search(tune(3)) is None
    silent = tune(3).at(np.zeros(0, int))
    assert Melodies([silent, tune(3)]).search(tune(3)).piece == 1


def test_a_large_corpus_is_searched_where_notes_are_shared(monkeypatch):
    """The candidates are exact where they are all pieces, and have the copy where they are few."""
    pieces = [tune(i) for i in range(40)]
    whole = Melodies(pieces)
    clips = [between(tune(i), 3, 19) for i in (7, 21, 39)]
    wanted = [whole.search(clip) for clip in clips]
    monkeypatch.setattr(melody, "CANDIDATES", 4)
    for clip, exact in zip(clips, wanted, strict=True):
        words = melody_words(clip)
        assert len(whole.candidates(words)) == 4
        found = whole.search(clip)
        assert (
            (found.similarity, found.piece) == (exact.similarity, exact.piece) == (1, found.piece)
        )
    stranger = whole.search(between(tune(77), 3, 19))
    assert 0 <= stranger.similarity < 1


# ------------------------------------------------------------------------------------------ bars


def bars(*contents):
    """A bar for each: four quarters of these pitches."""
    return table([(4 * b + q, 1, p) for b, some in enumerate(contents) for q, p in enumerate(some)])


def random_bars(seed, count):
    random = np.random.default_rng(seed)
    return [tuple(random.integers(48, 84, 4).tolist()) for _ in range(count)]


def test_a_run_of_bars_is_found_where_it_is_and_in_any_key():
    training = [random_bars(i, 12) for i in range(6)]
    search = BarRuns([bars(*some) for some in training]).search
    lifted = [tuple(p + 3 for p in bar) for bar in training[4][5:10]]
    made = bars(*random_bars(90, 3), *lifted, *random_bars(91, 3))
    assert search(made) == BarRun(5, 11, 4, 5)
    assert search(bars(*random_bars(92, 8))) == BarRun(0, 8)
    assert search(made, np.array([0, 1, 2])) == BarRun(0, 11)
    assert search(made, np.array([1, 4])) == BarRun(5, 11, 4, 5)
    # Each bar in a key of its own is no run.
    torn = [tuple(p + i for p in bar) for i, bar in enumerate(training[4][5:10])]
    assert search(bars(*torn)).length == 1


def test_a_run_does_not_go_on_in_the_next_piece_nor_over_a_silent_bar():
    first, second = random_bars(0, 8), random_bars(1, 8)
    search = BarRuns([bars(*first), bars(*second)]).search
    assert search(bars(*first[5:], *second[:5])).length == 5
    assert search(bars(*first[:2], (), *first[2:5])).length == 3


def test_near_is_an_f1_above_four_fifths():
    five = table([(4 * b + q * 0.75, 0.5, 60 + 7 * q + b) for b in range(4) for q in range(5)])
    search = BarRuns([five]).search
    one_other = five.pitch.copy()
    one_other[::5] += 1
    assert search(replace(five, pitch=one_other)).length == 0  # 4 of 5 and 4 of 5: 0.8
    dropped = five.at(np.arange(20) % 5 > 0)
    assert search(dropped).length == 3  # 4 of 4 and 4 of 5: 0.89; the first bar begins late


def test_places_are_48ths_of_a_bar():
    late = table([(0, 1, 60), (1 + 1 / 30, 1, 62), (2 + 1 / 10, 1, 64), (3, 1, 65)])
    found = elements(bars_of(late))
    assert sorted((found.indices // 128).tolist()) == [0, 12, 25, 36]
    assert PLACES == 48


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**20))
def test_runs_by_brute_force(seed):
    random = np.random.default_rng(seed)
    few = [tuple(random.integers(60, 62, 4).tolist()) for _ in range(3)]  # bars that often recur
    pieces = [[few[k] for k in random.integers(0, 3, 6)] for _ in range(3)]
    clip = [few[k] for k in random.integers(0, 3, 5)]

    def alike(one, other, shift):
        a, b = ({(q, p + s) for q, p in enumerate(x)} for x, s in ((one, shift), (other, 0)))
        return 2 * len(a & b) / (len(a) + len(b)) > 0.8

    best = 0
    for piece in pieces:
        for shift in range(-6, 7):
            for i in range(5):
                for j in range(6):
                    n = 0
                    while i + n < 5 and j + n < 6 and alike(clip[i + n], piece[j + n], shift):
                        n += 1
                    best = max(best, n)
    assert BarRuns([bars(*piece) for piece in pieces]).search(bars(*clip)).length == best


# ------------------------------------------------------------------------------------------ rows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """96 made chorales of 14 bars as MIDI; no sound is ever read."""
    folder = tmp_path_factory.mktemp("tunes")
    names = [f"p{i:02d}" for i in range(96)]
    for i, name in enumerate(names):
        write_midi(table_of(chorale(i)), folder / f"{name}.mid")
    split = ["train"] * 32 + ["valid", "test"] * 32
    rows = [{"piece": n, "split": s, "status": "kept"} for n, s in zip(names, split, strict=True)]
    write(folder / "pieces.csv", rows)
    (folder / "wav").mkdir()
    write(
        folder / "wav/index.csv", [{"piece": n, "status": "kept", "seconds": "28"} for n in names]
    )
    music = CorpusPieces(folder / "pieces.csv", [folder / "wav"])
    return folder, NoteIndex(music, {name: folder / f"{name}.mid" for name in names})


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def clip_set(folder, tables):
    """Clips of which two seconds are heard, with their notes; None: sound alone."""
    folder.mkdir()
    rows = [
        {"clip": f"c{i}", "file": f"c{i}.wav", "seconds": "28", "heard_seconds": "2"}
        for i in range(len(tables))
    ]
    write(folder / "clips.csv", rows)
    for row, notes in zip(rows, tables, strict=True):
        if notes is not None:
            write_midi(notes, folder / f"{row['clip']}.mid")
    clips = SearchedClips(folder, 24000)
    clips.names, clips.rows = [row["clip"] for row in rows], rows
    return clips


@pytest.mark.slow
def test_copies_are_flagged_and_the_control_stands_beside_them(corpus, tmp_path):
    _, scores = corpus
    copy = moved(scores.tables["p03"], 2)
    made = [copy, table_of(chorale(500)), table_of(chorale(501)), None]
    clips = clip_set(tmp_path / "clips", made)
    verdicts = Tunes(scores).verdicts(clips, count=320, seed=0)
    assert [one.rung for one in verdicts] == [MELODY, BARS]
    found = {
        (row["clips"], row["metric"]): row for one in verdicts for row in tidy(one, "generated")
    }
    for rung in (MELODY, BARS):
        row = found["generated", f"memorised_{rung}"]
        assert (row["n"], float(row["value"])) == (3, pytest.approx(1 / 3, abs=1e-6))
        assert float(found["generated", f"null_p99_{rung}"]["value"]) > 0
    longest, usual = (float(found[c, "longest_run"]["value"]) for c in ("generated", "real"))
    assert longest == 14 > usual
    assert float(found["generated", "melody_new"]["value"]) == pytest.approx(2 / 3, abs=1e-6)
    assert float(found["real", "melody_new"]["value"]) > 0.9
    similarity = {c: found[c, "melody_similarity"] for c in ("generated", "real")}
    assert float(similarity["generated"]["value"]) > float(similarity["real"]["ci_high"])
    assert "held-out excerpts of 64 pieces" in similarity["real"]["note"]
    assert found["real", "mean_run"]["n"] >= 300
    rows = [
        row
        for one in verdicts
        for row in clip_rows(one, "generated", clips.names, {}, scores.music, tmp_path.parent)
    ]
    nearest = {(r["rung"], r["clip"]): r for r in rows}
    assert nearest[MELODY, "c0"]["nearest_piece"] == nearest[BARS, "c0"]["nearest_piece"] == "p03"
    assert nearest[BARS, "c0"]["flagged"] == "true"
    assert nearest[BARS, "c3"]["note"].startswith("n/a")


@pytest.mark.slow
def test_what_cannot_be_told_has_a_reason(corpus, tmp_path):
    _, scores = corpus
    assert len(scores.names) == 32
    short = [between(scores.tables["p80"], 0, 3)] * 2
    said = Tunes(scores).verdicts(clip_set(tmp_path / "short", short), 320, 0)
    assert ["too short" in one.reason for one in said] == [True, True]
    said = Tunes(scores).verdicts(clip_set(tmp_path / "sound", [None]), 320, 0)
    assert [one.reason for one in said] == [AUDIO_ONLY] * 2
    nothing = replace_names(scores, [])
    said = Tunes(nothing).verdicts(clip_set(tmp_path / "none", [scores.tables["p80"]]), 320, 0)
    assert [one.reason for one in said] == [NO_MUSIC] * 2
    few = Tunes(scores).verdicts(clip_set(tmp_path / "few", [scores.tables["p80"]]), 20, 0)
    assert all("20 held-out clips" in one.reason for one in few)
    assert all("memorised" not in str(row.get("value")) for one in few for row in tidy(one, "g"))


def replace_names(scores, names):
    made = object.__new__(NoteIndex)
    vars(made).update(vars(scores) | {"names": names})
    return made


@pytest.mark.slow
def test_planted_copies_of_melodies_and_bars(corpus):
    """A transposition is found by both; another tempo is another rhythm, and no bar is whole."""
    _, scores = corpus
    how = Memorisation(null_clips=320, planted=12)
    found = {}
    for rung, attack, got, null in Tunes(scores).study(16.0, how, 0):
        found[rung, attack] = float((got > null.threshold).mean())
    for rung in (MELODY, BARS):
        for attack in ("exact", "tone_up", "fourth_down"):
            assert found[rung, attack] == 1.0, (rung, attack)
    assert found[BARS, "reversed"] == 0.0
    copy = attacked(scores.tables["p03"], "faster_10pc")
    assert Tunes(scores).nearest(copy)[0].similarity < 1


def test_a_clip_that_cannot_be_searched_costs_itself(corpus, tmp_path, monkeypatch):
    _, scores = corpus
    searched = Tunes(scores)
    plain = searched.bars.search
    calls = iter(range(10**6))

    def fails_once(table, pieces=None):
        if next(calls) == 0:
            raise ArithmeticError("no good")
        return plain(table, pieces)

    monkeypatch.setattr(searched.bars, "search", fails_once)
    clips = clip_set(tmp_path / "clips", [scores.tables["p80"], scores.tables["p81"]])
    _, runs = searched.verdicts(clips, 20, 0)
    assert "no good" in runs.faults["c0"]
    assert np.isfinite(runs.scores).tolist() == [False, True]
    assert tunes.CONTROL == "real"
