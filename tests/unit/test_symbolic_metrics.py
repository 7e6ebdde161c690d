"""Symbolic metrics: golden values by hand, properties, the seed's own behaviour, bad input."""

from __future__ import annotations

import csv
import json
import math
from random import Random

import music
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused
from scipy.stats import gaussian_kde

from etude.metrics.notes import (
    chord_changes,
    clips,
    counts,
    divergence,
    features,
    frechet,
    harmony,
    measure,
    overlap,
    score,
    structure,
    table,
    word2vec,
)
from etude.midi.notes import NoteTable, read_midi
from etude.results.leaderboard import LOWER, direction
from etude.storage import write_csv

HISTOGRAMS = st.lists(st.integers(0, 50), min_size=4, max_size=4)
NOTES = st.lists(
    st.tuples(st.integers(0, 63), st.integers(1, 8), st.integers(36, 84)), min_size=1, max_size=30
)


def notes(rows, program=0, ticks=4):
    """A table of (onset, duration, pitch), times in sixteenths at 120 quarters a minute."""
    rows = sorted({(o, p): (o, d, p) for o, d, p in rows}.values(), key=lambda r: (r[0], r[2]))
    onset, duration, pitch = (np.array(c) for c in zip(*rows, strict=True))
    small = pitch.astype(np.int16)
    whole = np.full_like(small, program)
    return NoteTable(
        onset.astype(np.int64), duration.astype(np.int64), small, np.full_like(small, 80), whole,
        np.zeros((0, 2), np.int64), ticks,
    )  # fmt: skip


# ---------------------------------------------------------------------------- divergences


def test_divergences_by_hand():
    real, made = np.array([3.0, 1.0]), np.array([1.0, 1.0])
    p, q = np.array([3.5, 1.5]) / 5, np.array([0.5, 0.5])  # Jeffreys
    found = divergence.evaluate(real, made)
    assert found["kl"] == pytest.approx((p * np.log(p / q)).sum())
    assert divergence.evaluate(real, made, "laplace")["kl"] == pytest.approx(
        4 / 6 * math.log(4 / 3) + 2 / 6 * math.log(2 / 3)
    )
    opposite = divergence.evaluate(np.array([1e9, 0]), np.array([0, 1e9]))
    assert opposite["js"] == pytest.approx(math.log(2), rel=1e-6)
    assert math.isfinite(opposite["kl"])
    assert divergence.evaluate(np.array([1.0, 1]), np.array([1.0, 0]), "none")["kl"] == math.inf


@given(HISTOGRAMS, HISTOGRAMS, st.permutations(range(4)))
def test_divergence_properties(real, made, order):
    real, made = np.array(real, dtype=float), np.array(made, dtype=float)
    found = divergence.evaluate(real, made)
    assert found["kl"] >= -1e-12
    assert -1e-12 <= found["js"] <= math.log(2)
    assert divergence.evaluate(real, real)["kl"] == pytest.approx(0, abs=1e-12)
    assert divergence.evaluate(made, real)["js"] == pytest.approx(found["js"], abs=1e-12)
    moved = divergence.evaluate(real[order], made[order])
    assert moved["kl"] == pytest.approx(found["kl"], abs=1e-12)


@given(HISTOGRAMS.filter(any))
def test_entropy_is_between_nothing_and_all(histogram):
    assert -1e-12 <= float(divergence.entropy_bits(np.array(histogram, float))) <= 2 + 1e-12


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (np.array([-1.0, 2]), "not-finite"),
        (np.array([np.inf, 1]), "not-finite"),
        (np.ones(3), "bins-differ"),
    ],
)
def test_bad_histograms_are_refused(bad, code):
    with refused(code):
        divergence.evaluate(np.ones(2), bad)


# ------------------------------------------------------------------------- pitches, durations


def test_black_keys_count_and_the_seed_loses_two():
    """music21 spells E flat and B flat, so the seed's twelve sharps never see them."""
    black = notes([(i, 1, 60 + p) for i, p in enumerate((1, 3, 6, 8, 10))])
    assert counts.pitch_classes(black)[[1, 3, 6, 8, 10]].tolist() == [1] * 5
    seeds = counts.pitch_classes(black, "neuromusic")
    assert seeds[[1, 6, 8]].tolist() == [1] * 3
    assert seeds[[3, 10]].tolist() == [0, 0]


def test_durations_fall_into_musical_bins():
    some = notes([(0, 4, 60), (8, 4, 60), (16, 2, 60), (20, 6, 60)])
    found = dict(zip(counts.DURATIONS, counts.durations(some), strict=True))
    assert {k: v for k, v in found.items() if v} == {1.0: 2, 0.5: 1, 1.5: 1}
    seeds = counts.durations(some, "neuromusic")  # by twelfths of a quarter
    assert {int(k): int(seeds[k]) for k in np.flatnonzero(seeds)} == {6: 1, 12: 2, 18: 1}


def test_the_seeds_distance_by_hand():
    """Shares plus 1e-6 over the bins that either fills."""
    p, q = np.array([1.0, 0]) + 1e-6, np.array([0.5, 0.5]) + 1e-6
    found = counts.seeds_distance(np.array([4.0, 0, 0]), np.array([1.0, 1, 0]))
    assert found == pytest.approx((p * np.log(p / q)).sum())
    assert math.isnan(counts.seeds_distance(np.zeros(2), np.ones(2)))


def test_the_seeds_divergence_of_distances():
    """99 bins from the smallest to the largest + 1; infinite where the made ones miss a bin."""
    real, made = np.array([0.0, 0.1, np.nan]), np.array([0.0, 0.0])
    assert table.seeds_kl(real, made) == math.inf
    assert table.seeds_kl(made, real) == pytest.approx(math.log(2))
    assert math.isnan(table.seeds_kl(np.array([np.nan]), made))


def test_drums_do_not_count():
    assert not counts.pitch_classes(notes([(0, 1, 38)], program=128)).any()
    assert not harmony.words(notes([(0, 1, 38)], program=128))


# ------------------------------------------------------------------------------- features


def two_bars():
    """C E G held a bar, then C D for two beats each."""
    return notes([(0, 16, 60), (0, 16, 64), (0, 16, 67), (16, 8, 60), (24, 8, 62)])


def test_features_by_hand():
    found = features.features(two_bars(), 4.0)
    assert found["pitch_range"] == 7
    assert found["pitches_used"] == found["pitch_classes_used"] == 4
    assert found["polyphony"] == pytest.approx((3 * 16 + 16) / 32)
    assert found["polyphony_rate"] == pytest.approx(0.5)  # over two pitches in the first bar
    assert found["scale_consistency"] == 1
    shares = np.array([2, 1, 1, 1]) / 5
    assert found["pitch_class_entropy"] == pytest.approx(-(shares * np.log2(shares)).sum())
    assert found["pitch_class_entropy_1_bar"] == pytest.approx((math.log2(3) + 1) / 2)
    assert found["pitch_class_entropy_4_bars"] == pytest.approx(found["pitch_class_entropy"])
    assert found["groove_consistency"] == pytest.approx(1 - 1 / 64)  # one onset more
    assert found["groove_similarity"] == pytest.approx(1 - 1 / 64)
    assert found["notes"] == 5
    assert found["note_density"] == pytest.approx(1.25)
    assert found["mean_interval"] == pytest.approx((4 + 3 + 7 + 2) / 4)
    assert found["mean_ioi"] == pytest.approx((2 + 1) / 2)
    assert found["empty_bars"] == 0


def test_groove_similarity_is_over_all_pairs():
    grid = np.zeros((3, 64), dtype=bool)
    grid[0, :4] = grid[1, :2] = True
    pairs = [(grid[a] ^ grid[b]).mean() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert features.groove_similarity(grid) == pytest.approx(1 - np.mean(pairs))
    assert features.groove_consistency(grid) == pytest.approx(1 - np.mean([pairs[0], pairs[2]]))


@settings(max_examples=40, deadline=None)
@given(NOTES, st.integers(-12, 12))
def test_what_transposition_leaves_alone(rows, shift):
    plain = features.features(notes(rows), 8.0)
    moved = features.features(notes([(o, d, p + shift) for o, d, p in rows]), 8.0)
    assert moved == pytest.approx(plain, nan_ok=True)
    assert 0 <= plain["scale_consistency"] <= 1
    assert 0 <= plain["pitch_class_entropy"] <= math.log2(12)
    assert 1 <= plain["polyphony"] <= 30


def test_one_note_has_no_groove():
    found = features.features(notes([(0, 4, 60)]), 1.0)
    assert math.isnan(found["groove_consistency"])
    assert math.isnan(found["mean_interval"])
    assert found["polyphony"] == 1


# ------------------------------------------------------------------------------ structure


def naive_fitness(matrix, start, length):
    """Mueller's recursion, cell by cell, for one stretch."""
    n, part = len(matrix), matrix[:, start : start + length]
    none = (-math.inf, 0, 0, 0)  # score, cells, frames of closed paths, begin of the open one
    rows = []
    for row in range(n):
        out = (0.0, 0, 0, 0)
        if row:
            out, last = rows[-1][0], rows[-1][1][-1]
            closed = (last[0], last[1], last[2] + row - 1 - last[3] + 1, last[3])
            out = closed if closed[0] > out[0] else out
        cells = []
        for m in range(length):
            if m == 0:
                best = (out[0], out[1], out[2], row)
            else:
                old = rows[-1][1] if row else [none] * length
                older = rows[-2][1] if row > 1 else [none] * length
                options = [old[m - 1], old[m - 2] if m > 1 else none, older[m - 1]]
                best = max(options, key=lambda x: x[0])
            cells.append((best[0] + part[row, m], best[1] + 1, best[2], best[3]))
        rows.append((out, cells))
    out, last = rows[-1][0], rows[-1][1][-1]
    closed = (last[0], last[1], last[2] + n - 1 - last[3] + 1)
    score_, cells, covered = closed if closed[0] > out[0] else out[:3]
    gain = max((score_ - length) / cells, 0) if cells else 0
    cover = max((covered - length) / n, 0)
    return 2 * gain * cover / (gain + cover) if gain + cover else 0


def test_fitness_equals_the_naive_recursion():
    frames = np.random.default_rng(0).random((9, 12))
    matrix = structure.similarity_matrix(np.concatenate([frames, frames[:5]]))
    plot = structure.fitness(matrix)
    for start in range(14):
        for length in range(1, 15 - start):
            expected = naive_fitness(matrix, start, length)
            assert plot[length - 1, start] == pytest.approx(expected, abs=1e-12), (start, length)


def test_repetition_is_structure_and_noise_is_not():
    random = np.random.default_rng(1)
    bars = random.integers(48, 72, (8, 2)).tolist()
    repeated = [(8 * i, 8, p) for i, b in enumerate(bars * 3) for p in b]
    single = [(8 * i, 8, int(p)) for i in range(24) for p in random.integers(48, 72, 2)]
    high, low = (structure.structureness(notes(r), 0, 24.0) for r in (repeated, single))
    assert high["structureness_short"] > low["structureness_short"] + 0.2
    assert math.isnan(structure.structureness(notes([(0, 4, 60)]), 0, 2.0)["structureness_short"])


# ------------------------------------------------------------------------------- harmony


@pytest.mark.parametrize("lowest", range(12))
def test_a_numeral_does_not_hang_on_the_octave_even_in_the_lowest(lowest):
    """MIDI's lowest octave is number -1, and `C#-1` would be a C sharp, flattened."""
    for chord in [(lowest, 48, 52, 55), (lowest,), (0, 4, 7), (lowest, 127)]:
        up = tuple(sorted(p + 12 if p < 24 else p for p in chord))
        assert harmony.numeral(chord, 0, "major") == harmony.numeral(up, 0, "major"), chord
    assert harmony.numeral((0, 48, 52, 55), 0, "major") == "I53"


def test_a_cadence_by_hand():
    bars = [(60, 64, 67), (65, 69, 72), (67, 71, 74), (64, 67, 72)]
    some = notes([(16 * i, 16, p) for i, bar in enumerate(bars) for p in bar])
    assert harmony.chords(some)[1] == (0, "major")
    assert harmony.words(some) == ["I", "IV", "V", "I6"] or harmony.words(some) == [
        "I53", "IV53", "V53", "I6",
    ]  # fmt: skip


def test_an_empty_bar_is_a_dash_and_words_do_not_hang_on_the_key():
    some = [(0, 16, 60), (0, 16, 64), (0, 16, 67), (32, 16, 67), (32, 16, 71), (32, 16, 74)]
    found = harmony.words(notes(some))
    assert found[1] == "-"
    up = harmony.words(notes([(o, d, p + 2) for o, d, p in some]))
    assert up == found


@pytest.mark.slow
def test_the_fast_reduction_is_music21s(tmp_path):
    paths = music.make_chorales(tmp_path, 2) + music.make_multitrack(tmp_path, 1)
    for path in paths:
        assert harmony.words(read_midi(path)) == harmony.words_by_music21(path)


def test_vectors_are_the_same_on_every_run_and_survive_the_file(tmp_path):
    sentences = [["I", "IV", "V", "I"], ["I", "V", "I", "rare"]] * 6
    made = [word2vec.train(sentences, dim=8, window=4, least=2, epochs=2, seed=0) for _ in range(2)]
    assert made[0].keys() == {"I", "IV", "V", "rare"}
    word2vec.write_vectors(made[0], tmp_path / "w.txt")
    read = word2vec.read_vectors(tmp_path / "w.txt")
    for word, vector in made[0].items():
        assert np.array_equal(vector, made[1][word])
        assert read[word] == pytest.approx(vector, rel=1e-5)
    assert word2vec.train([["I"]], dim=8, window=4, least=2, epochs=1, seed=0) == {}
    word2vec.write_vectors({}, tmp_path / "none.txt")
    assert word2vec.read_vectors(tmp_path / "none.txt") == {}


def test_an_unknown_word_is_counted_and_costs_the_seed_the_pair():
    words = {"I": np.array([1.0, 0]), "V": np.array([0.0, 1])}
    mean, unknown = harmony.mean_vector(["I", "V", "xx"], words)
    assert mean == pytest.approx([0.5, 0.5])
    assert unknown == 1
    assert harmony.similarity(mean, words["I"]) == pytest.approx(math.sqrt(0.5))
    parts = {"head": ["I", "xx"], "tail": ["I"]}
    assert table._cosine(parts, "tail", words, "") == pytest.approx(1)
    assert math.isnan(table._cosine(parts, "tail", words, "neuromusic"))


# -------------------------------------------------------------------------- sets compared


def test_densities_are_scipys():
    random = np.random.default_rng(0)
    real, made = random.normal(0, 1, 40), random.normal(0.5, 1, 30)
    inter = np.abs(real[:, None] - made[None]).ravel()
    intra = np.abs(real[:, None] - real[None])[np.triu_indices(40, 1)]
    grid = np.linspace(0, max(inter.max(), np.abs(np.subtract.outer(real, real)).max()), 2000)
    p, q = (gaussian_kde(x)(grid) for x in (intra, inter))
    expected = np.minimum(p / p.sum(), q / q.sum()).sum()
    found = overlap.evaluate(real, made)
    assert found["overlapped_area"] == pytest.approx(expected, abs=0.02)
    assert found["intra_inter_kl"] >= 0


def test_overlap_is_high_for_the_same_and_low_for_others():
    random = np.random.default_rng(0)
    real = random.normal(0, 1, 60)
    assert overlap.evaluate(real, random.normal(0, 1, 60))["overlapped_area"] > 0.9
    assert overlap.evaluate(real, random.normal(9, 1, 60))["overlapped_area"] < 0.1
    assert overlap.evaluate(np.ones(5), np.ones(5))["overlapped_area"] == pytest.approx(1)
    assert math.isnan(overlap.evaluate(np.ones(2), np.ones(1))["overlapped_area"])


def test_ledoit_wolf_by_its_definition():
    rows = np.random.default_rng(0).normal(size=(7, 5))
    centred = rows - rows.mean(0)
    sample = centred.T @ centred / 7
    target = np.trace(sample) / 5 * np.eye(5)
    noise = sum(((np.outer(x, x) - sample) ** 2).sum() for x in centred) / 7**2
    share = min(noise / ((sample - target) ** 2).sum(), 1)
    expected = (1 - share) * sample + share * target
    assert frechet.ledoit_wolf(rows) == pytest.approx(expected)


def test_symbolic_frechet():
    random = np.random.default_rng(0)
    real = random.normal(size=(40, 6))
    real[0, 2] = np.nan
    near, far = random.normal(size=(40, 6)), random.normal(2, 1, (40, 6))
    assert frechet.evaluate(real, real)["symbolic_frechet"] == pytest.approx(0, abs=1e-6)
    near, far = (frechet.evaluate(real, x)["symbolic_frechet"] for x in (near, far))
    assert near < far / 3
    assert math.isnan(frechet.distance(real[:1], real))


# ------------------------------------------------------------------------------- clip sets


def clip_set(folder, number, seed, make, seconds=16.0):
    folder.mkdir(parents=True)
    rows = []
    for i in range(number):
        name = f"clip-{i:04d}"
        make(folder / f"{name}.mid", Random(f"{seed}/{i}"))
        rows.append({"clip": name, "file": f"{name}.wav", "seconds": seconds, "piece": f"p{i}"})
    write_csv(folder / "clips.csv", ["clip", "file", "seconds", "piece"], rows)


def chorale(path, random):
    music.chorale(path, random, 32)


def random_notes(path, random):
    rows = [(q / 2, 0.5, random.randrange(40, 90), 80) for q in range(48) for _ in range(3)]
    music.write_midi(path, [(0, 0, rows)])


def no_notes(path, random):
    music.write_midi(path, [(0, 0, [])])


class Experiment:
    system, corpus = "symbolic_lm", "c"

    def model_dump(self, **_):
        return {}


def scores(root, generated, compat="none", **sets):
    """Rows of symbolic.csv by (clips, metric)."""
    for name, (number, make) in sets.items():
        clip_set(root / "baselines" / name, number, name, make)
    clip_set(root / "made", *generated)
    for folder in ("baselines", "made"):
        how = {"most": 50, "harmony_clips": 4, "form_bars": 16, "threads": 1}
        flag = "" if compat == "none" else compat
        measure.measure_folder(root / folder, root / f"{folder}.json", compat=flag, **how)
    words = {"I": np.array([1.0, 0.2]), "V": np.array([0.1, 1.0])}
    word2vec.write_vectors(words, root / "w.txt")
    train = [music.chorale(root / "train" / f"{i}.mid", Random(i), 32) for i in range(8)]
    chord_changes.count_changes(
        train, root / "c.csv", settings={"seconds": 60, "pieces": 8}, threads=1
    )
    score.write_symbolic(
        Experiment(), {"experiment": "e", "clips": "seed-0/draw-1"},
        settings={"smoothing": "jeffreys", "compat": compat, "replicates": 8},
        generated=root / "made.json", baselines=root / "baselines.json", vectors=root / "w.txt",
        changes=root / "c.csv", packed=None, table=root / "t.csv", replicates=root / "r.csv", figures=root / "figures",
    )  # fmt: skip
    with (root / "t.csv").open() as file:
        return {(row["clips"], row["metric"]): row for row in csv.DictReader(file)}


def assert_distances_to_real(rows):
    """Each figure of harmony and voices beside real music's own, as a distance that may shrink."""
    real = float(rows["reference", "chord_share"]["value"])
    assert rows["reference", "chord_share"]["ci_low"]
    assert ("reference", "chord_share_from_real") not in rows
    for name in ("generated", "random", "real"):
        row, apart = rows[name, "chord_share"], rows[name, "chord_share_from_real"]
        difference = abs(float(row["value"]) - real)
        assert float(apart["value"]) == pytest.approx(difference, abs=2e-6)
        assert 0 <= float(apart["ci_low"]) <= float(apart["value"]) <= float(apart["ci_high"])
        assert direction("chord_share_from_real") == LOWER
        assert direction("chord_share") is None
    assert rows["real", "chord_share"]["n"] == "12"  # a mean is not biased: all clips
    far, near = (rows[n, "known_changes_from_real"]["value"] for n in ("random", "generated"))
    assert float(near) < float(far)
    assert rows["generated", "dissonance"]["ci_low"].startswith("-")


@pytest.mark.slow
def test_the_table_ranks_music_before_noise(tmp_path):
    rows = scores(
        tmp_path, (6, "g", chorale), reference=(6, chorale), real=(12, chorale),
        random=(6, random_notes), empty=(0, chorale),
    )  # fmt: skip
    for metric in ("pitch_class_kl", "duration_kl", "symbolic_frechet"):
        values = [float(rows[name, metric]["value"]) for name in ("generated", "random")]
        assert values[0] < values[1], metric
        row = rows["generated", metric]
        assert float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"])
    assert rows["real", "pitch_class_kl"]["n"] == "6"
    assert "draws of 6 from 12" in rows["real", "pitch_class_kl"]["note"]
    assert rows["real", "harmony_kl"]["n"] == "4"
    assert rows["empty", "symbolic"]["note"].startswith("n/a")
    assert rows["generated", "notes"]["draw"] == "1"
    assert_distances_to_real(rows)
    shown = [metric for clips, metric in rows if clips == "generated"]
    told = ("scale_consistency", "pitch_class_entropy", "pitch_class_kl", "polyphony")
    first = ("chord_share", "known_changes_from_real", "notes", "duration_kl")
    assert max(map(shown.index, first)) < min(map(shown.index, told))
    assert "muspy" in rows["generated", "groove_consistency"]["note"]
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert files == {
        "kl_divergence.json", "features_distributions.json", "distances_distributions.png",
        "pitch_classes.svg", "durations.svg", "harmony.svg",
    }  # fmt: skip
    found = json.loads((tmp_path / "figures" / "kl_divergence.json").read_text())
    assert found.keys() == {"pitch_class", "duration", "harmony"}
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    again = tmp_path / "again"
    scores(again, (6, "g", chorale), reference=(6, chorale), real=(12, chorale),
           random=(6, random_notes), empty=(0, chorale))  # fmt: skip
    for name in ("t.csv", "r.csv", "figures/durations.svg", "figures/distances_distributions.png"):
        assert (again / name).read_bytes() == before[tmp_path / name], name


@pytest.mark.slow
def test_the_seeds_own_way(tmp_path):
    rows = scores(
        tmp_path, (3, "g", chorale), "neuromusic", reference=(3, chorale), random=(3, random_notes)
    )
    row = rows["random", "pitch_class_distance_kl"]
    assert row["value"] or "infinite" in row["note"]
    assert ("generated", "pitch_class_distance_js") not in rows


def test_clips_without_notes_cost_no_error(tmp_path):
    rows = scores(tmp_path, (3, "g", no_notes), reference=(3, chorale), sound=(1, chorale))
    assert rows["generated", "clips_no_notes"]["value"] == "3"
    assert rows["generated", "symbolic"]["note"] == "n/a: no clip has notes"


@pytest.mark.slow
def test_a_single_clip(tmp_path):
    rows = scores(tmp_path, (1, "g", chorale), reference=(1, chorale), real=(2, chorale))
    assert rows["generated", "pitch_class_kl"]["value"]
    assert not rows["generated", "pitch_class_kl"]["ci_low"]
    assert rows["generated", "pitch_range_overlap"]["note"] == "n/a: no clip has a value"


def test_no_held_out_music(tmp_path):
    rows = scores(tmp_path, (2, "g", chorale), real=(2, chorale))
    assert rows["generated", "symbolic"]["note"].startswith("n/a: there is no held-out music")


def test_sets_of_sound_alone_and_broken_files(tmp_path):
    folder = tmp_path / "set"
    clip_set(folder, 2, "x", chorale)
    (folder / "clip-0000.mid").unlink()
    (folder / "clip-0001.mid").write_bytes(b"no midi")
    found = clips.read_symbolic(folder)
    assert found.dropped == {"no_midi": 1, "unreadable": 1, "no_notes": 0, "failed": 0}
    assert found.note == clips.NO_MIDI


def test_a_real_clips_notes_are_its_pieces(tmp_path):
    piece = music.chorale(tmp_path / "piece.mid", Random(0), 40)
    rows = [{"clip": "a", "file": "a.wav", "seconds": "4", "piece": "p", "start_s": "6"}]
    write_csv(tmp_path / "clips.csv", list(rows[0]), rows)
    (clip,) = clips.read_symbolic(tmp_path, pieces={"p": piece}).clips
    assert clip.music.onset_s.min() >= 5.999
    assert clip.music.onset_s.max() < 10
    assert clip.head.onset_s.max() < 8 <= clip.tail.onset_s.min() + 1e-3


def test_prompts_are_no_part_of_what_is_measured():
    whole = notes([(4 * i, 4, 60 + i) for i in range(16)])  # two a second
    row = {"clip": "a", "prime_seconds": "3", "heard_seconds": "2", "seconds": "5.5"}
    clip = clips.parted(row, whole, prompted=True)
    assert clip.head.pitch.tolist() == list(range(60, 66))
    assert clip.music.pitch.tolist() == clip.tail.pitch.tolist() == list(range(66, 70))
    clip = clips.parted(row, whole)
    assert clip.head.pitch.tolist() == [66, 67]
    assert clip.tail.pitch.tolist() == [68, 69]
    # A longer clip is heard further on, and its prompt still is all that came before.
    clip = clips.parted(row | {"seconds": "8"}, whole, prompted=True)
    assert 4 <= clip.start_s <= 5
    assert clip.head.pitch.tolist() == list(range(60, 66))
    assert clip.music.pitch.tolist() == clip.tail.pitch.tolist() == list(range(69, 73))


def test_replicates_pair_between_experiments():
    pieces = [f"p{i}" for i in range(8)]
    assert np.array_equal(
        score.draw_units(pieces, 8, [3, 1]), score.draw_units(["x" + p for p in pieces], 8, [3, 1])
    )
    drawn = score.draw_units(["a", "a", "b", "b"], 4, [0, 1])
    assert all(np.sum(drawn == i) == np.sum(drawn == i + 1) for i in (0, 2))  # pieces stay whole
