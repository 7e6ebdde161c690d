"""Estimates over seeds: components and coverage on data of known parts, pairing, Holm, verdicts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.results.statistics import (
    Cell,
    Estimate,
    components,
    difference,
    estimate,
    holm,
    pair,
    sampling_variance,
    verdict,
)


def simulate(generator, trainings, draws, train, draw, sampling, known=True):
    """Cells of a nested design with these standard deviations around 10."""
    cells = []
    for t in range(trainings):
        of_training = 10 + train * generator.standard_normal()
        for d in range(draws):
            noise = draw * generator.standard_normal() + sampling * generator.standard_normal()
            variance = sampling**2 if known else None
            value = of_training + noise
            half = 1.96 * sampling
            cells.append(Cell(str(t), str(d), value, variance, value - half, value + half))
    return cells


def test_components_of_a_design_done_by_hand():
    values = {("0", "0"): 1.0, ("0", "1"): 3.0, ("1", "0"): 6.0, ("1", "1"): 10.0}
    found = components([Cell(t, d, value, 0.5) for (t, d), value in values.items()])
    # MS_draw = (1 + 1 + 4 + 4) / 2 = 5; MS_train = 2 x (3^2 + 3^2) / 1 = 36; n0 = 2.
    assert (found.train, found.draw, found.sampling) == (15.5, 4.5, 0.5)
    assert found.shares() == pytest.approx((15.5 / 20.5, 4.5 / 20.5, 0.5 / 20.5))


def test_components_are_unbiased():
    generator = np.random.default_rng(1)
    found = [components(simulate(generator, 6, 6, 2.0, 1.0, 0.5)) for _ in range(400)]
    assert np.mean([c.train for c in found]) == pytest.approx(4.0, rel=0.1)
    assert np.mean([c.draw for c in found]) == pytest.approx(1.0, rel=0.1)
    assert {c.sampling for c in found} == {0.25}


@pytest.mark.parametrize(
    ("train", "draw", "sampling"), [(1.0, 0.5, 0.3), (0.0, 1.0, 0.2), (2.0, 0.0, 0.1)]
)
def test_the_interval_of_three_by_three_covers_as_often_as_it_says(train, draw, sampling):
    generator = np.random.default_rng(2)
    found = [estimate(simulate(generator, 3, 3, train, draw, sampling)) for _ in range(1500)]
    covered = np.mean([e.low <= 10 <= e.high for e in found])
    assert 0.935 <= covered <= 0.98, "95 %, and a little more where sampling widens it"


def test_draws_alone_miss_what_training_does():
    """What is said of one training must not be taken for a statement about all."""
    generator = np.random.default_rng(3)
    found = [estimate(simulate(generator, 1, 5, 1.0, 0.3, 0.1)) for _ in range(400)]
    assert np.mean([e.low <= 10 <= e.high for e in found]) < 0.6
    assert all("one training" in " ".join(e.notes) for e in found)


def test_where_only_sampling_varies_its_interval_covers():
    generator = np.random.default_rng(4)
    found = [estimate(simulate(generator, 1, 1, 0.0, 0.0, 1.0)) for _ in range(2000)]
    assert 0.935 <= np.mean([e.low <= 10 <= e.high for e in found]) <= 0.965
    assert found[0].notes == ("interval of sampling only: one training, one draw",)


def test_negative_components_are_clipped_and_said():
    cells = [Cell(str(t), str(d), v, 9.0) for t in range(2) for d, v in enumerate((1.0, 1.1))]
    found = components(cells)
    assert found.draw == found.train == 0.0
    assert "the component of draw came out negative and is set to 0" in found.notes
    assert "the component of train_seed came out negative and is set to 0" in found.notes
    wide = estimate(cells)
    assert wide.high - wide.low == pytest.approx(2 * 1.959964 * 3 / 2), "no narrower than sampling"


def test_what_a_design_cannot_tell_is_not_told():
    one = components([Cell("0", str(d), float(d), 0.1) for d in range(3)])
    assert one.train is None
    assert "one training: its share cannot be known" in one.notes
    mixed = components([Cell(str(t), "0", float(t), 0.1) for t in range(3)])
    assert mixed.draw is None
    assert mixed.train == pytest.approx(0.9)
    unknown = components([Cell(str(t), str(d), t + d / 2.0) for t in range(2) for d in range(2)])
    assert unknown.sampling is None
    assert unknown.draw == pytest.approx(0.125)
    alone = estimate([Cell("0", "0", 3.0)])
    assert alone.low is None
    assert alone.p is None
    assert "no interval" in alone.notes[0]
    with pytest.raises(ValueError, match="finite"):
        estimate([Cell("0", "0", math.nan)])
    with pytest.raises(ValueError, match="cells"):
        estimate([])


def test_a_missing_cell_leaves_the_mean_of_trainings():
    cells = [Cell("0", "0", 1.0), Cell("0", "1", 3.0), Cell("1", "0", 10.0)]
    assert estimate(cells).value == 6.0, "each training counts once"


def test_pairing_takes_away_what_both_share():
    generator = np.random.default_rng(5)
    won = {"paired": 0, "unpaired": 0}
    for _ in range(100):
        shared = simulate(generator, 3, 3, 2.0, 1.0, 0.0)
        a = [
            Cell(c.train_seed, c.draw, c.value + 0.1 * generator.standard_normal()) for c in shared
        ]
        b = [Cell(c.train_seed, c.draw, c.value + 0.5) for c in shared]
        won["paired"] += estimate(pair(a, b)).high < 0
        won["unpaired"] += difference(estimate(a), estimate(b)).high < 0
    assert won["paired"] > 95
    assert won["unpaired"] < 20


def test_pairs_are_of_the_same_seeds_and_carry_their_sampling():
    a = [Cell("0", "0", 5.0, 1.0), Cell("1", "0", 6.0, 1.0), Cell("2", "0", 7.0, None)]
    b = [Cell("1", "0", 2.0, 3.0), Cell("0", "0", 1.0, 3.0), Cell("3", "0", 0.0, 3.0)]
    found = pair(a, b, {("0", "0"): 0.25})
    assert [(c.key, c.value, c.sampling) for c in found] == [
        (("0", "0"), 4.0, 0.25), (("1", "0"), 4.0, 4.0),
    ]  # fmt: skip
    assert found[0].low == pytest.approx(4 - 1.959964 * 0.5)


def test_no_difference_is_called_one_as_rarely_as_it_should():
    generator = np.random.default_rng(6)
    found = []
    for _ in range(1000):
        a, b = (simulate(generator, 3, 2, 1.0, 0.5, 0.2) for _ in range(2))
        found.append(estimate(pair(a, b)))
    assert np.mean([e.p < 0.05 for e in found]) < 0.07
    for e in found:
        assert (e.p < 0.05) == (e.low > 0 or e.high < 0), "p and interval say the same"


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7]) == [0.7]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_raises_and_keeps_the_order(values):
    corrected = holm(values)
    assert all(c >= v and c <= 1 for c, v in zip(corrected, values, strict=True))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert all(corrected[i] <= corrected[j] for i, j in itertools.pairwise(order))


def test_holm_keeps_the_error_of_a_family():
    generator = np.random.default_rng(7)
    wrong = [min(holm(list(generator.random(8)))) < 0.05 for _ in range(2000)]
    assert np.mean(wrong) < 0.065


@pytest.mark.parametrize(
    ("low", "high", "p", "lower", "said"),
    [
        (-3, -1, 0.01, True, "better"), (-3, -1, 0.01, False, "worse"), (1, 3, 0.01, True, "worse"),
        (-1, 3, 0.2, True, "inconclusive"), (1, 3, 0.06, True, "inconclusive"),
        (0, 3, 0.04, True, "inconclusive"), (1, 3, 0.01, None, "differs"),
        (None, None, None, True, "inconclusive"),
    ],
)  # fmt: skip
def test_verdicts(low, high, p, lower, said):
    middle = 0.0 if low is None else (low + high) / 2
    found = Estimate(middle, low, high, 1.0, 4, ("0",), ("0",), components([Cell("0", "0", 1.0)]))
    assert verdict(found, p, lower) == said


def test_sampling_variance_of_an_interval():
    assert sampling_variance(-1.959964, 1.959964) == pytest.approx(1.0)
    assert sampling_variance(None, 1.0) is None
