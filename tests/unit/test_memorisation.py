"""The memorisation ladder: each rung alone, planted copies, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.audio.files import write_wav
from etude.config import Cut, Memorisation
from etude.metrics.clip_sets import read_clips, stretch
from etude.metrics.memorisation import clip_tokens, exact, fingerprint, notes, waveform
from etude.metrics.memorisation.catalogue import NOTHING, Catalogue
from etude.metrics.memorisation.excerpts import CorpusPieces
from etude.metrics.memorisation.extraction import extract
from etude.metrics.memorisation.find import (
    Search,
    SearchedClips,
    Verdicts,
    guarded,
    read_clip_tokens,
)
from etude.metrics.memorisation.neighbours import Neighbours
from etude.metrics.memorisation.null import Null, exact_interval
from etude.metrics.memorisation.rows import extraction_rows, recall_rows, tidy
from etude.metrics.memorisation.sequences import Common, SuffixIndex, edit_distances, note_sequence
from etude.midi.notes import NoteTable
from etude.midi.writing import plain_table, write_midi

RATE = fingerprint.RATE


def music(seed, seconds=12.0, transpose=0.0, speed=1.0):
    """Three voices of decaying harmonic tones, a new chord each 0.4 s or so."""
    random = np.random.default_rng(seed)
    wave = np.zeros(round(seconds * RATE))
    at = 0.0
    while at < seconds - 0.1:
        length = float(random.choice([0.3, 0.4, 0.6]))
        begin = round(at / speed * RATE)
        time = np.arange(min(round(1.2 * RATE), len(wave) - begin)) / RATE
        for pitch in random.integers(50, 80, 3):
            hertz = 440 * 2 ** ((pitch + transpose - 69) / 12) * speed
            for partial in range(1, 5):
                tone = np.sin(2 * np.pi * partial * hertz * time) / partial
                wave[begin : begin + len(time)] += tone * np.exp(-3 * time)
        at += length
    return (0.1 * wave).astype(np.float32)


@pytest.fixture(scope="module")
def catalogue():
    pieces = [(f"p{seed}", fingerprint.features(music(seed))) for seed in range(12)]
    return Catalogue.build(pieces)


# ------------------------------------------------------------------------------ null, intervals


def test_exact_intervals_are_clopper_and_pearson():
    """0 of n: 1 - (0.025) ** (1 / n); the values of the textbook for 5 of 20."""
    assert exact_interval(0, 300) == pytest.approx((0, 1 - 0.025 ** (1 / 300)))
    assert exact_interval(5, 20) == pytest.approx((0.0866, 0.4910), abs=5e-5)
    assert exact_interval(20, 20) == pytest.approx((0.025 ** (1 / 20), 1))
    with pytest.raises(ValueError, match="no share"):
        exact_interval(0, 0)


@given(st.integers(300, 900), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_at_most_one_percent_of_a_null_is_above_its_threshold(n, seed):
    scores = np.random.default_rng(seed).normal(size=n)
    null = Null(scores, [f"p{i % 40}" for i in range(n)])
    assert (scores > null.threshold).mean() <= 0.01
    assert not null.reason
    flagged, tried = null.false_positives()
    assert tried == n
    assert flagged <= 0.05 * n


def test_a_small_null_decides_nothing_and_says_so():
    assert "299 held-out clips" in Null(np.zeros(299), ["p"] * 299).reason
    assert "29 pieces" in Null(np.zeros(400), [f"p{i % 29}" for i in range(400)]).reason


# -------------------------------------------------------------------------------------- exact


@pytest.mark.slow
def test_segments_of_a_copy_are_found_and_no_others(tmp_path):
    wave = music(0)
    training = {}
    for start, digest in exact.segment_hashes(wave, RATE, 2.0, 1.0):
        training.setdefault(digest, []).append(("p0", start))
    clips = [("copy", wave[RATE : 5 * RATE]), ("moved", wave[RATE + 1 : 5 * RATE])]
    probes = exact.matches(clips, training, RATE, 2.0, 1.0)
    assert [p.found for p in probes if p.clip == "copy"] == [
        (("p0", 1.0),), (("p0", 2.0),), (("p0", 3.0),),
    ]  # fmt: skip
    assert not any(p.found for p in probes if p.clip == "moved")
    for some in (probes, [], [p for p in probes if not p.found]):
        exact.write_seed_files(some, tmp_path)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {
            "hash_comparison_detailed.csv", "probe_matches.json",
            "match_distribution.png", "match_frequency.png",
        }  # fmt: skip
        rows = (tmp_path / "hash_comparison_detailed.csv").read_text().splitlines()
        assert len(rows) == len(some) + 1, "unmatched probes stand there as well"


def test_held_out_segments_that_are_in_the_training_split_are_counted():
    hashes = {"a": [("p", 0.0), ("q", 2.0)], "b": [("q", 4.0)], "c": [("p", 1.0), ("p", 2.0)]}
    assert exact.crossing(hashes, {"p": "train", "q": "test"}) == 1


# -------------------------------------------------------------------------------- fingerprint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "least"),
    [
        (lambda w: w, 0.97),
        (lambda w: 0.2 * w, 0.97),
        (lambda w: w + np.random.default_rng(0).normal(0, 0.03 * w.std(), len(w)), 0.93),
    ],
)
def test_copies_are_found_where_they_are(catalogue, attack, least):
    copies = [music(seed)[round(a * RATE) :][: 2 * RATE] for seed, a in ((3, 2.37), (7, 5.123))]
    found = catalogue.search([fingerprint.features(attack(copy)) for copy in copies])
    assert [match.piece for match in found] == ["p3", "p7"]
    for match, start in zip(found, (2.37, 5.123), strict=True):
        assert match.start_s - match.clip_start_s == pytest.approx(start, abs=0.06)
        assert match.score > least


@pytest.mark.parametrize(("transpose", "speed"), [(1, 1), (-1, 1), (0, 1.02)])
def test_transposed_and_faster_copies_are_found(catalogue, transpose, speed):
    copy = music(5, transpose=transpose, speed=speed)[4 * RATE : 6 * RATE]
    (match,) = catalogue.search([fingerprint.features(copy)])
    assert match.piece == "p5"
    assert match.score > 0.75


def test_a_span_inside_other_music_is_found(catalogue):
    host = music(100)[: 8 * RATE].copy()
    host[3 * RATE : 5 * RATE] = music(9)[6 * RATE : 8 * RATE]
    (match,) = catalogue.search([fingerprint.features(host)])
    assert match.piece == "p9"
    assert match.start_s == pytest.approx(6 + match.clip_start_s - 3, abs=0.06)


@pytest.mark.slow
def test_other_music_is_less_alike(catalogue):
    others = [fingerprint.features(music(seed)[: 2 * RATE]) for seed in range(50, 70)]
    assert max(match.score for match in catalogue.search(others)) < 0.9


class Heard(CorpusPieces):
    """Stands in for the corpus: the wave of each piece, by a function of its name."""

    def __init__(self, wave):
        self.wave, self.left = wave, {}

    def read(self, excerpt, rate):
        first, samples = round(excerpt.start_s * rate), round(excerpt.seconds * rate)
        part = self.wave(excerpt.piece)[first : first + samples]
        return np.pad(part, (0, samples - len(part)))


@pytest.fixture(scope="module")
def waveforms(catalogue):
    """The same pieces as they sound."""
    return waveform.Waveforms(Heard(lambda piece: music(int(piece[1:]))), catalogue)


def held_chord(seconds=4.0, release=0.0):
    """One chord and nothing else, and what may still sound of the one before."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277.2, 329.6))
    before = release * np.sin(2 * np.pi * 247 * time) * np.exp(-time)
    sound = 0.1 * (wave * np.exp(-0.5 * time) + before)
    return np.pad(sound, (RATE // 2, 0)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "least"),
    [
        (lambda w: w, 0.999),
        (lambda w: 0.2 * w, 0.999),
        (lambda w: w + np.random.default_rng(0).normal(0, 0.03 * w.std(), len(w)), 0.99),
    ],
)
def test_equal_waveforms_are_found_where_they_are(waveforms, attack, least):
    places = ((3, 2.37), (7, 5.12345), (4, 0.0))
    found = waveforms.search([attack(music(p)[round(a * RATE) :][: 2 * RATE]) for p, a in places])
    for match, (piece, start) in zip(found, places, strict=True):
        assert match.score > least
        assert match.piece == f"p{piece}"
        assert match.start_s == pytest.approx(start, abs=0.005)


@pytest.mark.slow
def test_other_sounds_are_no_equal_waveform(waveforms):
    """Other music, and the same music upside down."""
    others = [music(seed)[: 2 * RATE] for seed in range(50, 60)]
    found = waveforms.search([*others, -music(3)[RATE : 3 * RATE]])
    assert max(match.score for match in found) < 0.9


def test_a_copied_held_chord_is_told_from_the_same_chord_of_another_piece():
    """The fingerprint has to doubt both."""
    played = held_chord()
    known = Catalogue.build([("p0", fingerprint.features(played))])
    begin = round(0.3 * RATE)
    copy, other = (w[begin : begin + 2 * RATE] for w in (played, held_chord(release=0.6)))
    doubted = known.search([fingerprint.features(wave) for wave in (copy, other)])
    assert all(match.score < 0.95 for match in doubted)
    copied, alike = waveform.Waveforms(Heard(lambda _: played), known).search([copy, other])
    assert copied.score > 0.999
    assert alike.score < 0.97


def test_short_silent_and_unknown_clips_have_no_equal_waveform(waveforms):
    short, silent = waveforms.search([music(5)[:RATE], np.zeros(2 * RATE)])
    assert 0 <= short.score <= 1
    assert silent.score == NOTHING
    nothing = waveform.Waveforms(None, Catalogue.build([]))
    assert nothing.search([music(0)])[0].score == NOTHING


def test_a_peak_between_samples_is_as_high_as_its_parabola():
    curve = 0.9 - 0.01 * (np.arange(9) - 4.3) ** 2
    (height,), (at,) = waveform.peaks(curve[None])
    assert (height, at) == (pytest.approx(0.9), 4)
    (edge,), (at,) = waveform.peaks(np.array([[0.8, 0.5, 0.1]]))
    assert (edge, at) == (0.8, 0)
    assert waveform.peaks(np.full((1, 5), 0.5))[0] == [0.5]


def test_silence_and_no_training_music_match_nothing(catalogue, tmp_path):
    silent = fingerprint.features(np.zeros(2 * RATE))
    assert not silent.any()
    assert catalogue.search([silent])[0].score == NOTHING
    nothing = Catalogue.build([])
    assert nothing.search([fingerprint.features(music(0))])[0].score == NOTHING
    with pytest.raises(ValueError, match="finite"):
        fingerprint.features(np.array([np.nan]))
    catalogue.save(tmp_path / "c.npz")
    clip = fingerprint.features(music(1)[: 2 * RATE])
    assert Catalogue.load(tmp_path / "c.npz").search([clip]) == catalogue.search([clip])


# --------------------------------------------------------------------------------- neighbours


def test_nearest_windows_equal_brute_force():
    random = np.random.default_rng(0)
    windows, clips = random.normal(size=(300, 6)) * [1, 2, 3, 4, 5, 6], random.normal(size=(4, 6))
    near = Neighbours(windows).search(clips, np.arange(4), 5)
    assert near[4] is None
    units = [(x - windows.mean(0)) / windows.std(0) for x in (clips, windows)]
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in units]
    cosine = units[0] @ units[1].T
    for row, one in zip(cosine, near[:4], strict=True):
        assert one.window == row.argmax()
        assert one.score == pytest.approx(row.max(), abs=1e-5)


def test_bad_embeddings_are_refused_and_bad_clips_passed_over():
    windows = np.random.default_rng(0).normal(size=(20, 4))
    with pytest.raises(ValueError, match="no training windows"):
        Neighbours(windows[:0])
    with pytest.raises(ValueError, match="not finite"):
        Neighbours(np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        Neighbours(windows).search(windows[:, :3], np.arange(20), 20)
    found = Neighbours(windows).search(np.full((1, 4), np.nan), np.array([0]), 1)
    assert found == [None]


# ---------------------------------------------------------------------------------- sequences

ids = st.lists(st.integers(0, 3), min_size=1, max_size=24)


@given(st.lists(ids, min_size=1, max_size=4), ids)
@settings(max_examples=60, deadline=None)
def test_longest_common_runs_equal_brute_force(training, query):
    best = max(
        j - i
        for i in range(len(query))
        for j in range(i, len(query) + 1)
        if any(query[i:j] == s[k : k + j - i] for s in training for k in range(len(s) - j + i + 1))
    )
    found = SuffixIndex([np.array(s) for s in training]).search(np.array(query))
    assert found.run_length == best
    if best:
        at = training[found.sequence][found.position : found.position + best]
        assert any(query[i : i + best] == at for i in range(len(query)))


@given(ids, ids)
@settings(max_examples=60, deadline=None)
def test_edit_distances_equal_the_textbook(query, window):
    above = [0] * (len(window) + 1)
    for i, a in enumerate(query, 1):
        row = [i]
        for j, b in enumerate(window, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        above = row
    assert edit_distances(np.array(query), np.array([window])).tolist() == [min(above)]


def table(seed, count=40):
    random = np.random.default_rng(seed)
    onset = np.sort(random.integers(0, 200, count)) * 120
    pitch, small = random.integers(40, 80, count).astype(np.int16), np.zeros(count, np.int16)
    length = random.integers(1, 8, count) * 120
    made = NoteTable(onset, length, pitch, small, small, np.zeros((0, 2), np.int64), 480)
    return made.at(made.order())


@given(st.integers(0, 99), st.integers(-12, 12))
@settings(max_examples=20, deadline=None)
def test_notes_are_free_of_transposition(seed, semitones):
    moved = notes.transposed(table(seed), semitones)
    assert note_sequence(moved).tolist() == note_sequence(table(seed)).tolist()


def test_a_transposed_copy_of_notes_is_found_among_many():
    index = SuffixIndex([note_sequence(table(seed)) for seed in range(30)])
    copy = notes.transposed(notes.part(table(11), 4.0, 8.0), 1)
    found = index.search(note_sequence(copy))
    assert (found.run, found.edit, found.sequence) == (1.0, 1.0, 11)
    other = index.search(note_sequence(notes.part(table(77), 4.0, 8.0)))
    assert other.score < found.score
    span, host = notes.part(table(11), 4.0, 6.0), table(90)
    mixed = notes.embedded(span, host, 0.4)
    assert index.search(note_sequence(mixed)).sequence == 11
    assert (np.diff(mixed.onset) >= 0).all()


def test_empty_sequences_have_nothing_in_common():
    assert SuffixIndex([]).search(np.arange(5)).score == 0
    assert SuffixIndex([np.arange(5)]).search(np.zeros(0, np.int64)).score == 0
    assert not len(note_sequence(table(0, 1)))


# --------------------------------------------------------------------------------- extraction


def test_a_model_that_memorised_is_found_and_the_control_is_not():
    random = np.random.default_rng(0)
    sets = {"train": random.integers(0, 9, (20, 30)), "held_out": random.integers(0, 9, (20, 30))}
    known = {tuple(item[:10]): item for item in sets["train"]}

    def go_on(prefixes, count):
        blank = np.zeros(30, int)
        return np.stack([known.get(tuple(p[:10]), blank)[p.size :][:count] for p in prefixes])

    rows = list(extract(sets, [10, 20, 28], 8, go_on))
    figures = {(r["items"], r["prefix"], r["metric"]): r.get("value") for r in rows}
    assert figures["train", 10, "exact"] == figures["train", 20, "nearly"] == "1.000000"
    assert figures["held_out", 10, "nearly"] == "0.000000"
    assert "36 are needed" in rows[4]["note"]
    assert [row["n"] for row in rows[:4]] == [20] * 4
    # A gate makes its exact bounds of value and n.
    said = list(extraction_rows(rows))
    first = next(row for row in said if row["metric"] == "extracted_exact_after_10")
    assert (first["clips"], first["n"]) == ("prefixes_train", 20)
    assert {r["clips"] for r in said if r["n"]} == {"prefixes_train", "prefixes_held_out"}
    for row in (row for row in said if row["value"]):
        found = float(row["value"]) * row["n"]
        assert found == pytest.approx(round(found), abs=1e-4)
    (row,) = extract({"train": np.zeros((0, 30), int)}, [10], 8, go_on)
    assert row["note"] == "n/a: there are no train items"


def test_to_hold_the_last_token_is_no_memory():
    """In the demo one training segment in five ended in a held chord, and no held-out one."""
    random = np.random.default_rng(0)
    held, moving = np.ones((5, 20), int), random.integers(0, 9, (3, 20))
    sets = {"train": np.concatenate([held, moving]), "held_out": held}
    rows = list(extract(sets, [10], 8, lambda p, n: np.repeat(p[:, -1:], n, axis=1)))
    assert (rows[0]["value"], rows[0]["n"]) == ("0.000000", 3)
    assert rows[-1]["note"] == "n/a: all held_out items only hold their last token"


# ------------------------------------------------------------------------- clips, rows, gate


def test_recall_is_named_by_the_length_where_that_is_not_the_cuts():
    study = [
        {"rung": rung, "attack": "tone_up", "span_s": span, "clip_s": clip, "n": "20"}
        | dict.fromkeys(("embedding", "value", "ci_low", "ci_high", "note"), "")
        for rung, span, clip in (
            ("exact", "2", "2"), ("chroma", "2", "2"), ("chroma", "8.0", "8.0"),
            ("chroma", "2.0", "8.0"), ("notes", "2", "2"),
        )
    ]  # fmt: skip
    assert [row["metric"] for row in recall_rows(study)] == [
        "recall_exact_tone_up", "recall_chroma_tone_up", "recall_chroma_tone_up_8s",
        "recall_chroma_tone_up_span_in_8s", "recall_notes_tone_up_2s",
    ]  # fmt: skip
    assert {row["n"] for row in recall_rows(study)} == {"20"}


def test_clips_that_are_silent_or_broken_are_named_and_the_others_heard(tmp_path):
    write_wav(tmp_path / "good.wav", music(0)[: 2 * RATE], RATE)
    write_wav(tmp_path / "silent.wav", np.zeros(2 * RATE, np.float32), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFFxxxx")
    lines = ["clip,file", "a,good.wav", "b,silent.wav", "c,broken.wav", "d,good.wav"]
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    clips = SearchedClips.read(tmp_path, RATE)
    assert [len(wave) for wave in clips.waves] == [2 * RATE, 2 * RATE, 0, 2 * RATE]
    assert clips.faults["b"] == "silent"
    assert clips.faults["c"].startswith("corrupt_audio")
    assert clips.seconds == 2.0


def test_clips_are_searched_as_metrics_hear_them(tmp_path):
    """Without the prompt, and no more than is heard: in sound, in tokens and in notes."""
    wave = music(0)
    write_wav(tmp_path / "a.wav", wave, RATE)
    onset = np.arange(12) * 480  # a note each half second
    pitch = 60 + np.arange(12)
    write_midi(
        plain_table(onset, np.full(12, 400), pitch, ticks_per_quarter=480), tmp_path / "a.mid"
    )
    columns = "clip,file,seconds,prime_seconds,heard_seconds"
    (tmp_path / "clips.csv").write_text(f"{columns}\na,a.wav,12,1.5,2\n")
    clips = SearchedClips.read(tmp_path, RATE)
    door = [heard for _, heard in read_clips(tmp_path, RATE)]
    np.testing.assert_array_equal(clips.waves[0], door[0])
    assert clips.seconds == 2.0

    searched = []

    class Scores:
        def search(self, table):
            searched.append(table)
            return Common(0.5, 0.5, 0, 0, 2, 1.0)

        def null(self, seconds, count, seed):
            assert seconds == 2.0, "the null's excerpts are as long"
            return Null(np.zeros(400), [f"p{i % 40}" for i in range(400)])

        def place(self, found):
            return "p0", 0.0

    said = Search(None, Cut(seconds=2), Memorisation(), 0).notes(clips, Scores())
    assert said.scores.tolist() == [Common(0.5, 0.5, 0, 0, 2, 1.0).score]
    start, _ = stretch({"clip": "a", "seconds": "12", "prime_seconds": "1.5", "heard_seconds": "2"})
    assert start > 2.5, "behind the prime, and not at its end"
    assert searched[0].pitch.tolist() == [60 + i for i in range(12) if start <= i / 2 < start + 2]


def test_tokens_are_of_what_is_heard(tmp_path, monkeypatch):
    class Tokenizer:
        sample_rate = RATE

        def frames(self, samples):
            return samples // RATE

        def encode(self, waves):
            return torch.arange(waves.shape[1] // RATE)[None]

    write_wav(tmp_path / "clips/a.wav", music(0), RATE)
    columns = "clip,file,prime_seconds,heard_seconds"
    (tmp_path / "clips/clips.csv").write_text(f"{columns}\na,a.wav,1,3\n")
    monkeypatch.setattr(clip_tokens, "load_tokenizer", lambda _: Tokenizer())
    clip_tokens.tokenize_clips(tmp_path / "clips", tmp_path, tmp_path / "tokens.jsonl")
    assert read_clip_tokens(tmp_path / "tokens.jsonl") == {"generated": {"a": [0, 1, 2]}}


def fail(error):
    raise error


def test_a_rung_that_fails_or_has_a_small_null_says_why():
    """What is n/a the gate leaves out: tests/unit/test_results.py."""
    said = guarded("fingerprint", "", lambda: fail(ValueError("no good")))
    (row,) = tidy(said, "generated")
    assert row["note"] == "n/a: no good"
    exact_row = next(tidy(Verdicts("exact", "", np.zeros(8)), "generated"))
    assert exact_row["value"] == "0.000000"
    null = Null(np.linspace(0, 1, 400), [f"p{i % 40}" for i in range(400)])
    scores = np.array([0.5, 1.5, np.nan, 2.0])
    found = next(tidy(Verdicts("fingerprint", "", scores, null), "generated"))
    assert float(found["value"]) == pytest.approx(2 / 3, abs=1e-6)
    small = Null(null.scores[:200], null.pieces[:200])
    found = next(tidy(Verdicts("fingerprint", "", scores, small), "generated"))
    assert not found.get("value")
    assert "200 held-out clips" in found["note"]
