"""The embeddings that hear: loudness by the standard, the space, KAD of pairs apart, the ladder."""

from __future__ import annotations

import numpy as np
import pytest
from hearing import Ear, embed, holm
from ladder import LADDER, RATE, Excerpt, Notes, made, play
from refused import refused
from scipy import signal

from etude.audio.activations import LOWEST_NOTE, PitchActivations
from etude.config.embeddings import EMBEDDINGS
from etude.metrics import kad, kad_clips, loudness
from etude.metrics.frechet import Projection
from etude.metrics.harmony import Harmony, chroma, intervals, matches, outside
from etude.metrics.registry import embedding, residual_weight
from etude.metrics.space import Space, folds, log_residual

NEW = ("timbre", "harmony", "time", "progression", "form")


def sine(hertz, seconds, dbfs, rate=48000):
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


# --------------------------------------------------------------------------------------- loudness


def test_the_filters_are_the_standards_at_48_khz():
    """The coefficients that ITU-R BS.1770-4 prints, tables 1 and 2."""
    shelf, high_pass = loudness.k_weighting(48000)
    printed = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    assert shelf[:3] == pytest.approx(printed, abs=1e-8)
    assert shelf[4:] == pytest.approx([-1.69065929318241, 0.73248077421585], abs=1e-8)
    assert high_pass[4:] == pytest.approx([-1.99004745483398, 0.99007225036621], abs=1e-8)
    assert high_pass[:3].tolist() == [1, -2, 1]


@pytest.mark.parametrize("rate", [16000, 24000, 44100, 48000])
def test_a_sine_of_full_scale(rate):
    """997 Hz at 0 dBFS in one channel: -3.01 LKFS; the filters hold at other rates."""
    assert loudness.integrated(sine(997, 3, 0, rate), rate) == pytest.approx(-3.01, abs=0.06)


# EBU Tech 3341, tests 1 to 5, of a sine of 1 kHz in both channels; one channel is 3.01 dB less.
TESTS = [
    ([(-23, 20)], -23.0),
    ([(-33, 20)], -33.0),
    ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
    ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
    ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
]


@pytest.mark.parametrize(("parts", "expected"), TESTS)
def test_the_gates_of_ebu_tech_3341(parts, expected):
    rate = 24000
    wave = np.concatenate([sine(1000, seconds, dbfs, rate) for dbfs, seconds in parts])
    assert loudness.integrated(wave, rate) + 3.01 == pytest.approx(expected, abs=0.1)


def test_levels_are_made_equal_and_silence_stays():
    wave = np.stack([sine(440, 1, -40, RATE), sine(440, 1, -3, RATE), np.zeros(RATE)])
    found = loudness.integrated(loudness.level(wave, RATE), RATE)
    assert found[:2] == pytest.approx(-23, abs=1e-9)
    assert found[2] == -np.inf
    assert loudness.evaluate(wave[2], RATE) == {"loudness": -120, "loudness_spread": 0}
    assert loudness.integrated(sine(1000, 0.1, 0, RATE), RATE) == pytest.approx(-3, abs=0.2)


def test_spread_is_the_range_of_the_loudness():
    """EBU Tech 3342, test 1, with steps as long as clips have them: 20 s of each level there."""
    wave = np.concatenate([sine(1000, 4, -20, RATE), sine(1000, 4, -30, RATE)])
    assert loudness.evaluate(wave, RATE)["loudness_spread"] == pytest.approx(10, abs=0.5)


# ------------------------------------------------------------------------------------------ space


def rows(seed, n, d=12):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((n, 4)) @ np.random.default_rng(9).standard_normal(
        (4, d)
    ) + 0.3 * generator.standard_normal((n, d))


def test_without_a_residual_a_space_is_a_projection():
    reference, others = rows(0, 90), rows(1, 30)
    plain, space = Projection(reference, 4, 0.1), Space(reference, 4, 0.1)
    assert (space(others) == plain(others)).all()
    assert (space.rows == plain(reference)).all()
    assert Space(reference, None, 0.0, 2.0)(others) is others


def test_what_lies_outside_of_the_components_is_heard():
    reference, others = rows(0, 90), rows(1, 30)
    normal = np.linalg.svd(np.random.default_rng(9).standard_normal((4, 12)))[2][-1]
    space = Space(reference, 4, 0.1, 2.0)
    moved = space(others + 2 * normal * np.maximum(reference.std(0), 0.1))
    assert np.abs(moved[:, :4] - space(others)[:, :4]).mean() < 0.6
    assert (moved[:, 4] - space(others)[:, 4]).mean() > 3


def test_each_embedding_says_its_residuals_weight():
    assert {n: residual_weight(n) for n in (*EMBEDDINGS, "clap-laion-audio")} == {
        "logmel": 0, "chroma_onset": 0, "timbre": 2, "harmony": 4, "time": 2, "progression": 2,
        "form": 0, "clap-laion-audio": 0,
    }  # fmt: skip


def test_the_references_own_residuals_are_as_large_as_new_ones():
    """In sample they are smaller; by pieces, no row of a piece is in what its residual is of."""
    reference, others = rows(0, 60, 40), rows(1, 600, 40)
    pieces = np.arange(60) // 3
    space = Space(reference, 16, 0.1, 2.0, pieces)
    new = space(others)[:, -1].mean()
    inside = log_residual(space, reference).mean()
    assert (
        abs(new - space.rows[:, -1].mean())
        < abs(new - 2 * (inside - space.middle) / space.spread) / 3
    )
    with refused("one-piece-only"):
        Space(reference, 16, 0.1, 2.0, np.zeros(60))
    for fold in folds(pieces):
        assert not set(pieces[fold]) & set(pieces[~fold])
    assert np.sum(folds(pieces), axis=0).tolist() == [1] * 60


# -------------------------------------------------------------------------------------------- KAD


def brute(x, y, gx, gy, gamma):
    """Pair by pair."""

    def mean(a, b, keep):
        k = np.exp(-gamma * np.square(a[:, None] - b[None]).sum(2))
        return k[keep].mean()

    return 100 * (
        mean(x, x, gx[:, None] != gx) + mean(y, y, gy[:, None] != gy)
        - 2 * mean(x, y, np.ones((len(x), len(y)), bool))
    )  # fmt: skip


def test_kad_apart_is_the_mean_over_pairs_of_different_groups(monkeypatch):
    x, y = rows(0, 40), rows(1, 24)
    gx, gy = np.arange(40) // 4, np.arange(24) // 3
    kernel = kad.Kernel(x)
    expected = brute(x, y, gx, gy, kernel.gamma)
    assert kad_clips.Apart(kernel, gx).tally(y, gy).kad()[0] == pytest.approx(expected, rel=1e-9)
    # Clips of one piece: 8 clips, 4 pieces.
    apart = kad_clips.Apart(kernel, gx)
    tally = apart.tally(y, gy, [f"piece {i // 2}" for i in range(8)])
    assert tally.kad()[0] == pytest.approx(brute(x, y, gx, gy // 2, kernel.gamma), rel=1e-9)
    monkeypatch.setattr(kad_clips, "BLOCK", 7)
    again = kad_clips.Apart(kernel, gx).tally(y, gy)
    assert again.kad()[0] == pytest.approx(expected, rel=1e-9)


def test_kad_of_single_rows_is_kads():
    """Where each row is a group of its own, only the pairs of a row with itself are left out."""
    x, y = rows(0, 40), rows(1, 24)
    apart = kad_clips.Apart(kad.Kernel(x), np.arange(40))
    ours = apart.tally(y, np.arange(24)).kad()[0]
    assert ours == pytest.approx(kad.evaluate(x, y)["kad"], rel=1e-9)


def test_a_weighting_is_a_subset_and_the_jackknife_leaves_groups_out():
    x, y, clips = rows(0, 40), rows(1, 24), np.arange(24) // 3
    apart = kad_clips.Apart(kad.Kernel(x), np.arange(40) // 4)
    tally = apart.tally(y, clips)
    chosen = (np.arange(8) < 5).astype(float)[:, None]
    part = apart.tally(y[clips < 5], clips[clips < 5]).kad()[0]
    assert tally.kad(chosen)[0] == pytest.approx(part, rel=1e-9)
    without = apart.tally(y[clips != 2], clips[clips != 2]).kad()[0]
    assert tally.jackknife()[2] == pytest.approx(without, rel=1e-9)
    assert np.isnan(tally.kad(np.eye(8)[:, :1])[0])


def test_windows_of_one_clip_do_not_bias():
    """Eight clips of alike windows, of the reference's own distribution: 0, where KAD is far off."""

    def clips(seed, count):
        generator = np.random.default_rng(seed)
        return np.repeat(generator.standard_normal((count, 6)), 4, axis=0) + (
            0.2 * generator.standard_normal((4 * count, 6))
        )

    reference, pieces = clips(0, 150), np.repeat(np.arange(150), 4)
    apart = kad_clips.Apart(kad.Kernel(reference), pieces)
    found = [(clips(s, 8), np.repeat(np.arange(8), 4)) for s in range(1, 40)]
    ours = np.mean([apart.tally(*one).kad()[0] for one in found])
    theirs = np.mean([kad.evaluate(reference, x)["kad"] for x, _ in found])
    assert abs(ours) < 0.5
    assert theirs > 3


def test_a_difference_knows_that_the_reference_is_a_sample():
    """Two sets, equally far from the music, to each side of it; ten pieces of it lean to one."""
    generator = np.random.default_rng(0)
    pieces, held, narrow = np.repeat(np.arange(10), 6), 0, 0
    side = np.array([1.0, 0.0, 0.0])
    for _ in range(60):
        music = generator.standard_normal((10, 3))[pieces] + 0.3 * generator.standard_normal(
            (60, 3)
        )
        apart = kad_clips.Apart(kad.Kernel(music), pieces)
        one, other = (
            apart.tally(generator.standard_normal((64, 3)) + sign * side, np.arange(64))
            for sign in (1, -1)
        )
        value, low, high = kad_clips.difference(one, other)
        held += low <= 0 <= high
        narrow += abs(value) < 1.99 * (one.variance() + other.variance()) ** 0.5
    assert held >= 52  # binomial: of 60 in 99 %
    assert narrow < 50, "by the clips alone it would be too sure"


def test_what_other_pieces_would_change_is_the_jackknife_over_them():
    x, y, pieces = rows(0, 40), rows(1, 24), np.arange(40) // 4
    kernel = kad.Kernel(x)
    tally = kad_clips.Apart(kernel, pieces).tally(y, np.arange(24))
    left_out = [
        brute(x[pieces != p], y, pieces[pieces != p], np.arange(24), kernel.gamma)
        for p in range(10)
    ]
    expected = kad_clips.jackknife_variance(np.array(left_out))
    assert tally.reference_variance() == pytest.approx(expected, rel=1e-9)


def test_a_difference_has_the_interval_that_it_should():
    """Of equal sets the 95 % interval holds 0 in 95 of 100, within binomial noise."""
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((400, 5))
    apart = kad_clips.Apart(kad.Kernel(reference), np.arange(400))
    held = 0
    for _ in range(100):
        one, other = (
            apart.tally(0.4 + generator.standard_normal((48, 5)), np.arange(48)) for _ in range(2)
        )
        _, low, high = kad_clips.difference(one, other)
        held += low <= 0 <= high
    assert held >= 89
    far = apart.tally(1.0 + generator.standard_normal((48, 5)), np.arange(48))
    assert kad_clips.difference(far, other)[1] > 0


# ------------------------------------------------------------------------------------- embeddings


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_each_has_its_shape_also_of_silence_and_of_hardly_a_wave(name, rate):
    model = embedding(name)(rate)
    assert EMBEDDINGS[name].endswith(type(model).__name__)
    for wave in (np.zeros((2, 2 * rate)), np.zeros((1, 10)), 0.1 * np.ones((1, rate))):
        found = model.embed(wave)
        assert found.shape[::2] == (len(wave), model.dim)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", NEW)
def test_level_changes_nothing(name):
    wave = play(chorale(3), 2, 8)[None].astype(float)
    model = embedding(name)(RATE)
    assert model.embed(wave / 4) == pytest.approx(model.embed(wave), abs=1e-3)


def test_activations_are_the_notes():
    wave = play(
        Notes(*map(np.array, ([0.0] * 4, [3.0] * 4, [48, 55, 64, 72], [80] * 4, range(4)))), 0, 2
    )
    found = PitchActivations(RATE)(wave.astype(float))
    strongest = np.argsort(found.power.mean(0))[-4:] + LOWEST_NOTE
    assert set(strongest) == {48, 55, 64, 72}
    assert found.sounding.all()


def test_figures_of_chords_by_hand():
    triad = np.zeros((1, 53))
    triad[0, [0, 4, 7]] = 1  # from MIDI 36, a C
    shares = chroma(triad)
    assert shares[0, [0, 4, 7]] == pytest.approx(1 / 3)
    best, root = matches(shares)
    assert best[0, 0] == pytest.approx(1)
    assert root[0] == 0
    found = intervals(triad)[0]
    assert [k + 1 for k in np.flatnonzero(found > 0.1)] == [3, 4, 7]
    assert outside(shares)[0] == pytest.approx(0)
    cluster = np.zeros((1, 53))
    cluster[0, :7] = 1
    assert outside(chroma(cluster))[0] == pytest.approx(2 / 7)


def test_harmony_is_free_of_transposition():
    notes = chorale(5)
    model = Harmony(RATE)
    one, other = (
        model.embed(made(find("transposed by"), t, [Excerpt("p", notes, 2.0, 4.0)], [None])[0][None].astype(float))[0]
        for t in (1, 5)
    )  # fmt: skip
    assert np.abs(one - other).mean() < 0.6  # of units by which chorales deviate
    wrong = made(find("wrong notes"), 1.0, [Excerpt("p", notes, 2.0, 4.0)], [None])[0]
    assert np.abs(model.embed(wrong[None].astype(float))[0] - other).mean() > 1


# ----------------------------------------------------------------------------------------- ladder

DEGREES = {0: (3, 4, 5, 1), 1: (4,), 3: (4, 0, 1), 4: (0, 0, 5), 5: (3, 1)}
SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def chorale(seed, bars=14):
    """Four voices over a walk of degrees in some major key: nearest tones of each chord."""
    random = np.random.default_rng([seed, 14])
    key, degree = int(random.integers(-4, 5)), 0
    voices = np.array([72, 67, 60, 48]) + key
    columns = []
    for beat in range(4 * bars):
        classes = (SCALE[np.array([degree, degree + 2, degree + 4]) % 7] + key) % 12
        targets = [classes, classes, classes, classes[:1]]
        for i, allowed in enumerate(targets):
            near = (70, 65, 58, 48)[i] + key + np.arange(-9, 10)
            near = near[np.isin(near % 12, allowed)]
            step = np.abs(near - voices[i]) + 0.8 * random.random(len(near))
            voices[i] = near[step.argmin()]
            eighth = random.random() < 0.2
            columns.append((beat / 2, beat / 2 + (0.25 if eighth else 0.5), voices[i], 80, i))
            if eighth:
                passing = voices[i] + (2 if (voices[i] + 2 - key) % 12 in SCALE else 1)
                columns.append((beat / 2 + 0.25, beat / 2 + 0.5, passing, 80, i))
        degree = int(random.choice(DEGREES[degree]))
    onset, end, pitch, velocity, voice = (np.array(c) for c in zip(*columns, strict=True))
    return Notes(onset, end, pitch, velocity, voice)


def find(name):
    return next(r for r in LADDER if r.name == name)


@pytest.fixture(scope="module")
def pool():
    """24 pieces to be corrupted, 24 of reference, an excerpt of 8 s of each."""
    pieces = [Excerpt(f"piece {i}", chorale(i), 2.0 + 0.37 * (i % 7), 8.0) for i in range(48)]
    waves = [play(e.notes, e.start, e.seconds) for e in pieces]
    return pieces[:24], waves[:24], pieces[24:], waves[24:]


# Rows of the ladder, and the embeddings that hear each with power >= 0.9 at 24 clips.
PINNED = [
    ("whistle dB", -30, {"timbre"}),
    ("clipped at rms x", 2, {"timbre", "time"}),
    ("dropouts", 1, {"timbre", "time"}),
    ("wrong notes", 0.2, {"harmony"}),
    ("wrong notes", 1, {"timbre", "harmony", "time"}),
    ("permuted", 1, {"harmony", "time"}),
    ("backwards", 1, {"time"}),
    ("level dB", -6, set()),
    ("transposed by", 2, {"time"}),  # whose bands know the register
    ("bright piano", 1, {"timbre", "time"}),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timbre", "harmony", "time"])
def test_the_small_ladder(name, pool):
    """Pinned on music made by code; the whole on real music is benchmarks/bench_ladder.py."""
    held, reference, pieces, clean = pool
    ear = Ear(
        name,
        embed(name, reference, [e.piece for e in held], RATE),
        embed(name, clean, [e.piece for e in pieces], RATE),
        sizes=(24,),
    )
    heard = set()
    values = {}
    for row, dose, _ in PINNED:
        waves = made(find(row), dose, pieces, clean)
        found = ear.hear(embed(name, waves, [e.piece for e in pieces], RATE))
        values[row, dose] = found["kad"]
        if found["power 24"] >= 0.9:
            heard.add((row, dose))
        assert found["reward p"] > 0.001
    assert heard == {(row, dose) for row, dose, by in PINNED if name in by}
    if name == "harmony":
        assert values["wrong notes", 0.2] < values["wrong notes", 1]


def test_holm():
    assert holm({"a": 0.001, "b": 0.02, "c": 0.03, "d": 0.9}) == ["a"]
    assert holm({"a": 0.001, "b": 0.012, "c": 0.02, "d": 0.9}) == ["a", "b", "c"]


@pytest.mark.slow
def test_every_rung_changes_what_it_says():
    notes = chorale(1)
    wave = play(notes, 2.0, 4.0)
    assert signal.welch(wave, RATE)[1].sum() > 0
    for rungs in LADDER:
        for dose in rungs.doses:
            found = made(rungs, dose, [Excerpt("p", notes, 2.0, 4.0)], [wave])[0]
            assert found.shape == wave.shape, rungs.name
            assert np.isfinite(found).all()
            assert not np.array_equal(found, wave), rungs.name
