"""FAD-infinity, KAD, MAD: golden values, known cases, properties; sets, intervals, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused
from scipy import linalg

from etude.audio.files import write_wav
from etude.config.systems.external import External
from etude.metrics import frechet, kad, mad, samples
from etude.metrics.chroma_onset import ChromaOnset
from etude.metrics.distances import BELOW_0, METRICS, Yardstick, measure_sets
from etude.metrics.rivals import COLUMNS as RIVAL_COLUMNS
from etude.metrics.rivals import rival_rows
from etude.metrics.samples import Clips, ReplicatedFigure
from etude.metrics.score import (
    COLUMNS,
    SIGNAL_COLUMNS,
    score_embedding,
    summarise_signals,
    write_scores,
    write_signals,
)
from etude.storage import read_csv, write_csv

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
GOLDEN = json.loads((FIXTURES / "distances.json").read_text())
RATE = 24000


@pytest.fixture(scope="module")
def golden():
    with np.load(FIXTURES / "distances.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def rows(seed, n, d, shift=0.0):
    """Rows of one correlated Gaussian, whatever the seed."""
    mix = np.random.default_rng(d).standard_normal((d, d))
    return np.random.default_rng([seed, n]).standard_normal((n, d)) @ mix + shift


def every(table):
    return np.ones((len(table), 1))


# --------------------------------------------------------------------- others' own arithmetic


@pytest.mark.parametrize("name", ["close", "far"])
def test_frechet_equals_fadtk(name, golden):
    ours = frechet.evaluate(golden["reference"], golden[name])["frechet_distance"]
    assert ours == pytest.approx(GOLDEN["frechet"][name], rel=1e-10)


def test_the_line_equals_fadtk():
    theirs = GOLDEN["line"]
    counts, values = (np.array(x) for x in zip(*theirs["points"], strict=True))
    line = frechet._fit(counts, values)
    assert line.value == pytest.approx(theirs["value"], rel=1e-10)
    assert line.slope == pytest.approx(theirs["slope"], rel=1e-10)
    assert line.r2 == pytest.approx(theirs["r2"], abs=1e-10)


@pytest.mark.parametrize("name", ["close", "far", "few"])
def test_kad_equals_kadtk(name, golden):
    ours = kad.evaluate(golden["reference"], golden[name], bandwidth=3.25)["kad"]
    assert ours == pytest.approx(GOLDEN["kad"][name], abs=1e-11, rel=1e-11)
    assert kad.median_distance(golden["reference"]) == pytest.approx(GOLDEN["bandwidth"], rel=1e-6)


@pytest.mark.parametrize("figures", GOLDEN["mauve"])
def test_mauve_equals_mauve_text(figures):
    p, q = np.array(figures["p"]), np.array(figures["q"])
    assert mad.mauve(p, q) == pytest.approx(figures["mauve"], abs=1e-12)
    assert mad.frontier_integral(p, q) == pytest.approx(figures["frontier_integral"], abs=1e-12)


# ----------------------------------------------------------------------------- closed forms


def exactly(n, mean, deviations, seed=0):
    """Rows whose sample mean and covariance are these to the last digit."""
    white = np.random.default_rng(seed).standard_normal((n, len(mean)))
    white -= white.mean(0)
    q = np.linalg.qr(white)[0]
    return q * np.sqrt(n - 1) * deviations + mean


@pytest.mark.parametrize("n", [30, 400])
def test_a_gaussian_of_known_distance(n):
    generator = np.random.default_rng(1)
    m1, m2, s1, s2 = (generator.uniform(0.2, 3, 20) for _ in range(4))
    # Different rotations of the noise, equal axes: covariances commute.
    ours = frechet.Reference(exactly(n, m1, s1)).distance(exactly(n, m2, s2, seed=5))
    assert ours == pytest.approx(((m1 - m2) ** 2 + (s1 - s2) ** 2).sum(), rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(2, 30), st.integers(2, 30), st.integers(2, 12))
def test_few_rows_need_no_square_root_of_a_matrix(seed, m, n, d):
    a, b = rows(seed, m, d), rows(seed + 1, n, d, 0.3)
    (m1, c1), (m2, c2) = frechet.statistics(a), frechet.statistics(b)
    # The nuclear norm of the product of two factors: tr (S1 S2)^1/2 whatever the ranks.
    values1, vectors1 = linalg.eigh(c1)
    values2, vectors2 = linalg.eigh(c2)
    root1, root2 = (np.sqrt(x.clip(0)) * v for x, v in ((values1, vectors1), (values2, vectors2)))
    cross = linalg.svdvals(root1.T @ root2).sum()
    expected = (m1 - m2) @ (m1 - m2) + np.trace(c1) + np.trace(c2) - 2 * cross
    assert frechet.Reference(a).distance(b) == pytest.approx(expected, rel=1e-7, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(1, 120), st.sampled_from([0.0, 1e3]), st.booleans())
def test_a_subset_is_as_far_as_its_rows_alone(seed, count, away, twice):
    """Most rows are counted by those that are left out; rows drawn twice are not."""
    reference, others = frechet.Reference(rows(seed, 50, 6)), rows(seed + 1, 120, 6, 0.3) + away
    index = np.random.default_rng(seed).choice(120, count, replace=twice)
    alone = reference.distance(others[index])
    assert reference.prepare(others)(index) == pytest.approx(alone, rel=1e-9, abs=1e-6)


def test_one_row_is_a_point():
    a = rows(0, 50, 4)
    mean, covariance = frechet.statistics(a)
    expected = ((a[3] - mean) ** 2).sum() + np.trace(covariance)
    assert frechet.Reference(a).distance(a[3:4]) == pytest.approx(expected, rel=1e-10)


def test_mmd_of_points_by_hand():
    """k(0, 1) = e^-1/2 at h = 1; two pairs at distance 1, the pairs themselves at distance 0."""
    x, y = np.zeros((2, 1)), np.ones((2, 1))
    near = np.exp(-0.5)
    assert kad.evaluate(x, y, bandwidth=1.0)["kad"] == pytest.approx(100 * 2 * (1 - near), rel=1e-7)
    with refused("no-spread"):
        kad.evaluate(x, y)


def test_mmd_of_gaussians_of_known_distance():
    """N(0, 1) and N(1, 1), h = 1: 2 / sqrt 3 (1 - exp(-1 / 6)), and 0 for equal ones."""
    generator = np.random.default_rng(0)
    a, b, c = generator.standard_normal((3, 2000, 1))
    expected = 100 * 2 / np.sqrt(3) * (1 - np.exp(-1 / 6))
    assert kad.evaluate(a, b + 1, bandwidth=1.0)["kad"] == pytest.approx(expected, rel=0.15)
    assert kad.evaluate(a, c, bandwidth=1.0)["kad"] == pytest.approx(0, abs=0.3)


def test_mmd_is_the_same_in_blocks_and_of_weights(monkeypatch):
    a, b = rows(0, 40, 3), rows(1, 30, 3, 0.5)
    whole = kad.Kernel(a).distances(b, every(b))
    chosen = np.zeros((30, 1))
    chosen[:12] = 1
    part = kad.evaluate(a, b[:12])["kad"]
    monkeypatch.setattr(kad, "BLOCK", 7)
    assert kad.Kernel(a).distances(b, every(b)) == pytest.approx(whole, rel=1e-12)
    assert kad.Kernel(a).distances(b, chosen)[0] == pytest.approx(part, rel=1e-10)


def test_mad_of_known_histograms():
    p = np.array([0.5, 0.5, 0.0, 0.0])
    assert mad.mad(p, p) == pytest.approx(0, abs=1e-9)
    assert mad.frontier_integral(p, p) == 0
    assert mad.frontier_integral(p, p[::-1]) == pytest.approx(1)
    assert mad.mauve(p, p[::-1]) < 0.01


# --------------------------------------------------------------------------------- properties


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(1, 6))
def test_identity_symmetry_and_order(seed, d):
    a, b = rows(seed, 60, d), rows(seed + 1, 60, d, 0.4)
    width = kad.median_distance(a)
    assert kad.evaluate(a, b, width)["kad"] == pytest.approx(
        kad.evaluate(b, a, width)["kad"], abs=1e-9
    )
    assert kad.evaluate(a[::-1], b)["kad"] == pytest.approx(kad.evaluate(a, b)["kad"], abs=1e-9)
    assert kad.evaluate(a, b[::-1])["kad"] == pytest.approx(kad.evaluate(a, b)["kad"], abs=1e-9)
    # Unbiased, so a set against itself is below 0: the diagonal counts on one side only.
    assert kad.evaluate(a, a)["kad"] < 1e-9
    p, q = (generator / generator.sum() for generator in np.abs(rows(seed, 2, 8)) + 0.01)
    assert mad.mad(p, q) == pytest.approx(mad.mad(q, p), abs=1e-9)
    assert mad.mad(p[::-1], q[::-1]) == pytest.approx(mad.mad(p, q), abs=1e-9)
    assert mad.mad(p, p) == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 999))
def test_more_damage_is_farther(seed):
    """Noise, a shift and lost variety, each in three strengths."""
    generator = np.random.default_rng(seed)
    reference, music = rows(7, 200, 5), rows(8, 100, 5)
    other = 4 * generator.standard_normal(music.shape)
    shift = 4 * generator.standard_normal(5)
    strengths = (0.0, 0.7, 1.4, 2.1)
    for damage in (
        [music + s * other for s in strengths],
        [music + s * shift for s in strengths],
        [music * (1 - 0.4 * s) for s in strengths],
    ):
        figures = [
            frechet.evaluate(reference, x) | kad.evaluate(reference, x) | mad.evaluate(reference, x)
            for x in damage
        ]
        for metric in ("frechet_distance", "fad_infinity", "kad"):
            values = [found[metric] for found in figures]
            assert values == sorted(values), metric
        # Histograms of ten clusters saturate: only the ends are in order for certain.
        assert figures[0]["mad"] < figures[3]["mad"]


def test_fad_infinity_takes_most_of_the_bias_away():
    d = 32
    generator = np.random.default_rng(0)
    reference = frechet.Reference(generator.standard_normal((20000, d)))
    plain, infinite = [], []
    for seed in range(5):
        distances = reference.prepare(generator.standard_normal((400, d)))
        plain.append(distances(np.arange(400)))
        infinite.append(frechet.fad_infinity(distances, np.arange(400), seed=seed).value)
    assert np.mean(plain) > 0.5
    assert abs(np.mean(infinite)) < 0.15 * np.mean(plain)


def test_the_line_says_what_it_was_drawn_through():
    reference = frechet.Reference(rows(0, 200, 4))
    groups = np.repeat(np.arange(40), 3)
    distances = reference.prepare(rows(1, 120, 4))
    line = frechet.fad_infinity(distances, groups)
    assert (line.smallest, line.largest, line.points) == (10, 40, 25)
    assert line == frechet.fad_infinity(distances, groups)
    assert line != frechet.fad_infinity(distances, groups, seed=1)
    assert str(line).startswith("a line in 1/n through 25 subsets of 10 to 40, slope ")
    with refused("too-few-samples"):
        frechet.fad_infinity(distances, groups // 6)


def test_subsets_are_of_whole_clips():
    seen = []
    groups = np.repeat(np.arange(20), 4)
    frechet.extrapolate(
        lambda index: float(seen.append(index) or len(index)), np.arange(80), groups
    )
    for index in seen:
        names, counts = np.unique(groups[index], return_counts=True)
        assert set(counts) == {4}
        assert len(set(index)) == len(index) == 4 * len(names)


# -------------------------------------------------------------------------- sets and intervals


def clip_set(seed, clips, d=6, shift=0.0, pieces=0, windows=5):
    generator = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(clips), windows)
    own = generator.standard_normal((clips, d))[numbers]
    table = own + 0.5 * generator.standard_normal((clips * windows, d)) + shift
    units = [f"piece {i % pieces}" for i in range(clips)] if pieces else []
    return Clips(table, numbers, units, [f"clip-{i:04d}" for i in range(clips)])


def test_clips_are_drawn_of_as_many_pieces_as_there_are():
    clips, generator = clip_set(0, 24, pieces=6), np.random.default_rng(3)
    for n, expected in ((4, [1] * 4), (6, [1] * 6), (10, [1, 1, 2, 2, 2, 2]), (24, [4] * 6)):
        chosen = clips.draw(n, generator)
        units = [clips.units[i] for i in chosen]
        assert len(set(chosen)) == n
        assert sorted(units.count(u) for u in set(units)) == expected
    half = np.flatnonzero(clips.groups < 3)
    assert set(clips.groups[np.isin(clips.numbers, clips.draw(9, generator, half))]) == {0, 1, 2}
    single = [int(clip_set(0, 20).draw(1, generator)[0]) for _ in range(400)]
    assert set(single) == set(range(20)), "each is as likely"


def test_a_bootstrap_draws_whole_units():
    weights = samples.resampled(np.array([0, 1, 1, 2, 0]))
    assert (weights[0] == weights[4]).all()
    assert (weights[1] == weights[2]).all()
    assert (weights[[0, 1, 3]].sum(0) == 3).all()


def test_replicates_depend_on_their_number_alone():
    one, other = (samples.seeded(r).permutation(50).tolist() for r in (3, 3))
    assert one == other != samples.seeded(4).permutation(50).tolist()


@pytest.mark.slow
def test_intervals_are_as_wide_as_estimates_vary():
    """Of 30 sets drawn anew the estimates spread as the intervals say, within their own noise."""
    yardstick = Yardstick(clip_set(1, 400), 4, 0.1)
    spread = {metric: [] for metric in METRICS}
    said = {metric: [] for metric in METRICS}
    for seed in range(30):
        made = clip_set(100 + seed, 48, shift=0.5)
        for metric in METRICS:
            found = yardstick.measure(metric, made, 48)
            spread[metric].append(found.value)
            said[metric].append(found.replicates.std(ddof=1))
    for metric in METRICS:
        ratio = np.mean(said[metric]) / np.std(spread[metric], ddof=1)
        assert 0.6 < ratio < 1.7, (metric, ratio)


def music(seed, pieces, each, d=6, share=0.5):
    """Clips of pieces that differ: `share` of the variance is between pieces."""
    generator = np.random.default_rng(seed)
    unit = np.arange(pieces * each) % pieces
    own = np.sqrt(share) * generator.standard_normal((pieces, d))[unit]
    own += np.sqrt(1 - share) * generator.standard_normal((len(unit), d))
    numbers = np.repeat(np.arange(len(unit)), 3)
    table = own[numbers] + 0.5 * generator.standard_normal((len(numbers), d))
    return Clips(table, numbers, [f"piece {u}" for u in unit])


@pytest.mark.slow
def test_the_floors_interval_holds_what_other_pieces_would_have_given():
    """An interval of the floor had been 6.5 times too wide: a replicate was two whole pieces."""
    yardstick = Yardstick(music(0, 120, 2), 4, 0.1)
    floors = [music(seed, 16, 8) for seed in range(1, 31)]
    for metric in ("frechet_distance", "kad"):
        found = [yardstick.measure(metric, floor, 32) for floor in floors]
        values, ends = [e.value for e in found], [e.interval for e in found]
        mean, half = np.mean(values), np.mean([(high - low) / 2 for low, high in ends])
        held = sum(low <= mean <= high for low, high in ends)
        assert held >= 26, (metric, held)  # binomial: 26 or more of 30 in 99.5 % at 95 %
        assert half < 2 * 1.96 * np.std(values, ddof=1), metric


@pytest.mark.slow
def test_each_set_keeps_its_n_and_says_which_it_is_compared_at():
    yardstick = Yardstick(clip_set(1, 100), 4, 0.1)
    sets = {
        "generated": clip_set(2, 32, shift=0.3),
        "real": clip_set(3, 160, pieces=20),
        "few": clip_set(4, 12),
    }
    found = {(name, metric): cell for name, metric, _, cell in measure_sets(yardstick, sets, {})}
    assert {metric: [found[name, metric].n for name in sets] for metric in METRICS} == {
        "frechet_distance": [32, 32, 12],
        "mad": [32, 32, 12],
        "fad_infinity": [32, 160, 12],
        "kad": [32, 160, 12],
    }
    note = "mean of 40 draws of 32 clips of 20 pieces, from 160 of 20"
    assert note in found["real", "frechet_distance"].note
    assert note in found["real", "mad"].note
    assert "160 clips of 20 pieces" in found["real", "kad"].note
    for metric, said in (("frechet_distance", True), ("mad", True), ("kad", False)):
        warning = "not to be compared with figures of 32 clips: fewer are farther"
        assert (warning in found["few", metric].note) == said
    assert found["generated", "kad"].note.startswith("bandwidth ")
    assert "R² " in found["generated", "fad_infinity"].note
    for (name, _), cell in found.items():
        if name != "few":
            low, high = cell.interval
            assert low < cell.value < high


@pytest.mark.slow
def test_the_line_says_where_it_cannot_be_drawn():
    """In 24 dimensions a covariance of 20 clips has no full rank, and no line in 1/n holds."""
    yardstick = Yardstick(clip_set(1, 100, d=24), None, 0.0)
    cells = {n: yardstick.measure("fad_infinity", clip_set(2, n, d=24), n) for n in (24, 40)}
    assert cells[24].value > 0
    with refused("too-few-samples", 20, 24):
        yardstick.measure("fad_infinity", clip_set(2, 20, d=24), 20)
    with refused("too-few-samples", "7 pieces", 8):
        yardstick.measure("fad_infinity", clip_set(2, 70, d=24, pieces=7), 70)


@pytest.mark.slow
def test_what_the_reference_never_does_moves_every_distance():
    """Outside of its components nothing had been heard, however loud."""
    reference, made = clip_set(1, 100, d=12), clip_set(2, 40, d=12)
    for clips in (reference, made):
        clips.windows[:, 9:] *= 1e-5
    whistle = Clips(made.windows.copy(), made.clips)
    whistle.windows[:, 11] += 1.0
    plain, heard = (Yardstick(reference, 6, 0.1, weight) for weight in (0.0, 2.0))
    for metric in METRICS:
        deaf = [plain.measure(metric, clips, 40).value for clips in (made, whistle)]
        assert deaf[1] == pytest.approx(deaf[0], rel=0.05, abs=0.05), metric
        before, after = (heard.measure(metric, clips, 40) for clips in (made, whistle))
        assert after.interval[0] > before.interval[1], metric
    # The coordinates of the reference are its own, out of fold.
    assert heard.rows is heard.project.rows
    assert not np.allclose(heard.rows, heard.project(reference.windows))


def test_one_piece_alone_is_measured_and_said():
    yardstick = Yardstick(clip_set(1, 40, pieces=1), 4, 0.1, 2.0)
    found = yardstick.measure("kad", clip_set(2, 12, pieces=1), 12)
    assert found.note.count("all clips are of one piece") == 2


def test_each_refusal_is_one_row_and_the_others_stand():
    yardstick = Yardstick(clip_set(1, 100), 4, 0.1)
    broken = clip_set(4, 10)
    broken.windows[7, 2] = np.nan
    sets = {
        "good": clip_set(2, 10),
        "broken": broken,
        "other": clip_set(5, 10, d=5),
        "silent": Clips(np.zeros((50, 6)), np.repeat(np.arange(10), 5)),
        "none": Clips(np.zeros((0, 6)), np.zeros(0, dtype=np.int64)),
    }
    found = {(s, m): c for s, m, _, c in measure_sets(yardstick, sets, {"none": "no split"})}
    assert all(
        isinstance(found[name, m], ReplicatedFigure) for name in ("good", "silent") for m in METRICS
    )
    assert found["broken", "kad"] == "the embeddings of 1 clips are not finite (clip-0001)"
    assert (
        found["other", "mad"] == "the embeddings have different dimensions (5, the reference's 6)"
    )
    assert found["none", "frechet_distance"] == "no split"
    few = {m: c for _, m, _, c in measure_sets(yardstick, {"few": clip_set(2, 3)}, {})}
    assert isinstance(few["frechet_distance"], ReplicatedFigure)
    assert few["frechet_distance"].interval is None
    assert few["fad_infinity"].startswith("3 clips, at least 8 are needed")
    assert few["mad"].startswith("15 windows of audio, at least 50 are needed")


@pytest.mark.parametrize(
    ("reference", "code", "named"),
    [
        (Clips(np.zeros((0, 6)), np.zeros(0, dtype=np.int64)), "no-held-out-music", ""),
        (clip_set(0, 1, windows=3), "too-few-samples", "3 windows of audio, more than 4"),
        (Clips(np.full((9, 6), np.nan), np.arange(9)), "not-finite", "9 clips"),
    ],
)
def test_a_reference_that_is_none_is_said(reference, code, named):
    with refused(code, named):
        Yardstick(reference, 4, 0.1)


# --------------------------------------------------------------------------------------- files


def save(path, **sets):
    arrays = {}
    for name, clips in sets.items():
        units = clips.units or [""] * len(clips.names)
        arrays |= {name: clips.windows, f"{name}/clips": clips.clips}
        arrays |= {f"{name}/units": np.array(units, dtype=np.str_)}
        arrays |= {f"{name}/names": np.array(clips.names, dtype=np.str_)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def wide(seed, clips, **more):
    return clip_set(seed, clips, d=82, **more)


@pytest.fixture
def scored(tmp_path, monkeypatch):
    outlier = wide(2, 12)
    outlier.windows[outlier.clips == 5] += 9
    made = save(tmp_path / "made/chroma_onset.npz", generated=outlier)
    others = save(
        tmp_path / "others/chroma_onset.npz",
        reference=wide(1, 60),
        real=wide(3, 36, pieces=6),
        noise=wide(4, 12, shift=4.0),
    )
    heard = [
        {"clips": "noise", "clip": f"c{i}", "level_db": -90 if i < 2 else -20} for i in range(12)
    ]
    write_csv(tmp_path / "signals.csv", SIGNAL_COLUMNS, heard)
    outputs = {n: tmp_path / f"{n}.csv" for n in ("table", "replicates", "per_clip", "rivals")}
    monkeypatch.setattr(External, "rivals", ("noise", "shuffled"))
    write_scores(
        External(system="external", corpus="c", clips=tmp_path),
        {"experiment": "e", "clips": "seed-0/draw-0"},
        embeddings=["chroma_onset", "vggish"],
        own={},
        generated=[made],
        baselines=[others],
        signals=[tmp_path / "signals.csv"],
        baseline_clips=tmp_path,
        packed=None,
        gated=["chroma_onset", "vggish"],
        **outputs,
    )
    return {name: list(read_csv(path)) for name, path in outputs.items()}


@pytest.mark.slow
def test_the_three_tables(scored):
    table = {(r["clips"], r["metric"], r["embedding"]): r for r in scored["table"]}
    assert list(scored["table"][0]) == COLUMNS
    for name in ("generated", "real", "noise"):
        for metric in METRICS:
            row = table[name, metric, "chroma_onset"]
            pooled = name == "real" and metric in ("kad", "fad_infinity")
            assert row["n"] == ("36" if pooled else "12")
            if metric == "fad_infinity":
                assert row["note"].startswith("n/a: ")
            elif (name, metric) == ("noise", "mad"):  # all in one cluster: no spread, no interval
                assert row["ci_low"] == row["ci_high"] == ""
            else:
                assert float(row["ci_low"]) < float(row["value"]) < float(row["ci_high"])
    assert table["noise", "kad", "chroma_onset"]["note"].endswith("2 clips are silent")
    assert float(table["noise", "kad", "chroma_onset"]["value"]) > 10 * float(
        table["real", "kad", "chroma_onset"]["value"]
    )
    for metric in METRICS:
        row = table["generated", metric, "vggish"]
        assert row["note"].startswith("not run: needs pretrained weights")
        assert row["value"] == ""
    replicates = {(r["clips"], r["metric"]) for r in scored["replicates"]}
    assert ("real", "mad") in replicates
    rivals = {(r["embedding"], r["rival"]): r for r in scored["rivals"]}
    assert list(scored["rivals"][0]) == RIVAL_COLUMNS
    row = rivals["chroma_onset", "noise"]
    assert (row["n"], row["n_rival"], row["train_seed"], row["draw"]) == ("12", "12", "0", "0")
    assert float(row["ci_low"]) < float(row["value"]) < float(row["ci_high"]) < 0
    assert rivals["chroma_onset", "shuffled"]["note"] == "n/a: there is no such set"
    assert rivals["vggish", "noise"]["note"].startswith("n/a: not run: needs pretrained weights")
    per_clip = scored["per_clip"]
    assert len(per_clip) == 12
    assert per_clip[0]["clip"] == "clip-0005"
    assert [float(r["fad"]) for r in per_clip] == sorted(
        (float(r["fad"]) for r in per_clip), reverse=True
    )


def test_rivals_of_other_sizes_are_compared_and_the_rest_says_why(tmp_path):
    reference = clip_set(1, 100, pieces=25)
    sets = {
        "generated": clip_set(2, 48, shift=0.1),
        "far": clip_set(3, 20, shift=1.5),
        "equal": clip_set(4, 64, shift=0.1),
        "two": clip_set(5, 12, pieces=2),
        "none": Clips(np.zeros((0, 6)), np.zeros(0, dtype=np.int64)),
    }
    yardstick = Yardstick(reference, 4, 0.1, 2.0)
    names = ("far", "equal", "two", "none", "nobody")
    found = {r["rival"]: r for r in rival_rows(yardstick, sets, {"none": "no bars"}, names)}
    assert float(found["far"]["ci_high"]) < 0
    assert float(found["equal"]["ci_low"]) < 0 < float(found["equal"]["ci_high"])
    assert [(found[n]["n"], found[n]["n_rival"]) for n in ("far", "equal")] == [(48, 20), (48, 64)]
    notes = {name: found[name]["note"] for name in names[2:]}
    assert notes == {
        "two": "n/a: 2 clips or pieces, 4 are needed for an interval",
        "none": "n/a: no bars",
        "nobody": "n/a: there is no such set",
    }
    # The difference is that of two figures of the table.
    kad = {n: yardstick.measure("kad", sets[n], 48).value for n in ("generated", "far")}
    assert float(found["far"]["value"]) == pytest.approx(kad["generated"] - kad["far"], abs=1e-5)


def test_a_rival_without_an_interval_is_told_and_not_beaten():
    """What has no pair left is no 0, and no interval of width 0 that would decide."""
    reference = Clips(rows(0, 40, 3), np.arange(40) // 2, [f"p{i}" for i in range(20)])
    made = Clips(rows(1, 8, 3), np.arange(8))
    other = Clips(rows(2, 8, 3), np.arange(8))
    yardstick = Yardstick(reference, None, 0.0)
    tally = yardstick.tally(other)
    tally.within[:] = np.nan
    found = next(
        iter(rival_rows(_Told(yardstick, tally), {"generated": made, "r": other}, {}, ["r"]))
    )
    assert found["note"].startswith("n/a: ")
    assert "value" not in found


class _Told:
    """A yardstick whose second set has a known tally."""

    def __init__(self, yardstick, known):
        self.tallies = iter([None, known])
        self.yardstick = yardstick

    def tally(self, clips):
        return next(self.tallies) or self.yardstick.tally(clips)


def test_an_empty_reference_leaves_the_other_rows(tmp_path):
    empty = Clips(np.zeros((0, 82)), np.zeros(0, dtype=np.int64))
    made = save(tmp_path / "made.npz", generated=wide(2, 12))
    others = save(tmp_path / "others.npz", reference=empty, noise=wide(3, 12))
    scores = score_embedding("chroma_onset", made, others, {"reference": "no test split"})
    assert {row["note"] for row in scores.rows} == {"n/a: no test split"}
    assert {(row["clips"], row["metric"]) for row in scores.rows} == {
        (clips, metric) for clips in ("generated", "noise") for metric in METRICS
    }


# ----------------------------------------------------------------------------------- embedding


def notes(midi, seconds=2.0, beat=0.25):
    """Tones with an attack each beat."""
    time = np.arange(int(seconds * RATE)) / RATE
    envelope = np.exp(-8 * (time % beat))
    return envelope * sum(np.sin(2 * np.pi * 440 * 2 ** ((m - 69) / 12) * time) for m in midi) / 8


def test_chroma_and_onsets_hear_pitch_and_beat():
    model = ChromaOnset(RATE)
    chord, other = (model.embed(notes(m)[None])[0, 1] for m in ((60, 64, 67), (61, 65, 68)))
    chroma = chord[60:72]
    assert set(np.argsort(chroma)[-3:]) == {0, 4, 7}
    assert chroma.sum() == pytest.approx(100, abs=0.1)
    assert set(np.argsort(other[60:72])[-3:]) == {1, 5, 8}
    assert chord[:60].argmax() in {60 - 36, 64 - 36, 67 - 36}
    slow, fast = (model.embed(notes((60,), beat=b)[None])[0, 1, 72:] for b in (0.96, 0.24))
    assert fast[7] > slow[7]
    assert model.embed(notes((60,))[None]).shape == (1, 3, model.dim)


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
def test_silence_and_short_waves_have_one_window(rate):
    model = ChromaOnset(rate)
    found = model.embed(np.zeros((2, 10)))
    assert found.shape == (2, 1, model.dim)
    assert np.isfinite(found).all()
    assert (found[..., :60] == -60).all()
    assert (model.filters.sum(1) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "below"), [(4, True), (1, False)])
def test_a_figure_below_nothing_has_its_reason(seed, below):
    """A line through distances may end below 0, and so may an estimate without bias."""
    generator = np.random.default_rng(seed)
    sets = [Clips(generator.standard_normal((n, 4)), np.arange(n)) for n in (2000, 60)]
    yardstick = Yardstick(sets[0], None, 0.0)
    for metric, said in BELOW_0.items():
        estimate = yardstick.measure(metric, sets[1], 60)
        assert (estimate.value < 0, said in estimate.note) == (below, below)


def test_loudness_is_told_of_each_clip_and_set_with_its_interval(tmp_path):
    """Distances are of levelled clips: how loud these are is told beside them."""
    rows = []
    for number, gain in enumerate((0.1, 0.2, 0.05)):
        name = f"clip-{number:04d}"
        write_wav(tmp_path / f"{name}.wav", (gain * notes((60, 64))).astype(np.float32), RATE)
        rows.append({"clip": name, "file": f"{name}.wav"})
    write_csv(tmp_path / "clips.csv", ["clip", "file"], rows)
    write_signals({"generated": tmp_path}, RATE, tmp_path / "signals.csv")
    heard = list(read_csv(tmp_path / "signals.csv"))
    loudness = [float(row["loudness"]) for row in heard]
    assert loudness[1] - loudness[0] == pytest.approx(6.02, abs=0.1)
    table = {row["metric"]: row for row in summarise_signals(heard)}
    for metric, unit in (("loudness", "LUFS"), ("loudness_spread", "LU")):
        row = table[metric]
        assert (row["unit"], row["n"]) == (unit, 3)
        assert float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"])
