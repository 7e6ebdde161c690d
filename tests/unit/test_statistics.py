"""Estimates over seeds: components and coverage on data of known parts, corrections, verdicts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from etude.results.statistics import (
    Estimate,
    TrainingFigure,
    benjamini_hochberg,
    components,
    difference,
    estimate,
    exponential,
    holm,
    logarithms,
    sampling_variance,
    these_clips,
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
            cells.append(
                TrainingFigure(str(t), str(d), value, variance, value - half, value + half)
            )
    return cells


def test_components_of_a_design_done_by_hand():
    values = {("0", "0"): 1.0, ("0", "1"): 3.0, ("1", "0"): 6.0, ("1", "1"): 10.0}
    found = components([TrainingFigure(t, d, value, 0.5) for (t, d), value in values.items()])
    # MS_draw = (1 + 1 + 4 + 4) / 2 = 5; MS_train = 2 x (3^2 + 3^2) / 1 = 36; n0 = 2.
    assert (found.train, found.draw, found.sampling) == (15.5, 4.5, 0.5)
    assert found.shares() == pytest.approx((15.5 / 20.5, 4.5 / 20.5, 0.5 / 20.5))


def test_components_are_unbiased():
    generator = np.random.default_rng(1)
    found = [components(simulate(generator, 6, 6, 2.0, 1.0, 0.5)) for _ in range(400)]
    assert np.mean([c.train for c in found]) == pytest.approx(4.0, rel=0.1)
    assert np.mean([c.draw for c in found]) == pytest.approx(1.0, rel=0.1)
    assert {c.sampling for c in found} == {0.25}


@pytest.mark.slow
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
    cells = [
        TrainingFigure(str(t), str(d), v, 9.0) for t in range(2) for d, v in enumerate((1.0, 1.1))
    ]
    found = components(cells)
    assert found.draw == found.train == 0.0
    assert "the component of draw came out negative and is set to 0" in found.notes
    assert "the component of train_seed came out negative and is set to 0" in found.notes
    wide = estimate(cells)
    assert wide.high - wide.low == pytest.approx(2 * 1.959964 * 3 / 2), "no narrower than sampling"


def test_what_a_design_cannot_tell_is_not_told():
    one = components([TrainingFigure("0", str(d), float(d), 0.1) for d in range(3)])
    assert one.train is None
    assert "one training: its share cannot be known" in one.notes
    mixed = components([TrainingFigure(str(t), "0", float(t), 0.1) for t in range(3)])
    assert mixed.draw is None
    assert mixed.train == pytest.approx(0.9)
    unknown = components(
        [TrainingFigure(str(t), str(d), t + d / 2.0) for t in range(2) for d in range(2)]
    )
    assert unknown.sampling is None
    assert unknown.draw == pytest.approx(0.125)
    alone = estimate([TrainingFigure("0", "0", 3.0)])
    assert alone.low is None
    assert alone.p is None
    assert "no interval" in alone.notes[0]
    with pytest.raises(ValueError, match="finite"):
        estimate([TrainingFigure("0", "0", math.nan)])
    with pytest.raises(ValueError, match="cells"):
        estimate([])


def test_a_missing_cell_leaves_the_mean_of_trainings():
    cells = [
        TrainingFigure("0", "0", 1.0),
        TrainingFigure("0", "1", 3.0),
        TrainingFigure("1", "0", 10.0),
    ]
    assert estimate(cells).value == 6.0, "each training counts once"


def test_the_share_of_training_has_the_exact_interval():
    """F(2, 6) = 0.11, AudioLM's published trainings: no share at all, or half of the variance."""
    lines = [(0.0, 1.0, -1.0), (0.19, 1.19, -0.81), (0.38, 1.38, -0.62)]
    cells = [
        TrainingFigure(str(t), str(d), v)
        for t, line in enumerate(lines)
        for d, v in enumerate(line)
    ]
    found = components(cells)
    assert found.train == 0
    assert found.training_share == pytest.approx((0.0, 0.0, 0.53), abs=0.01)
    alone = components([TrainingFigure(str(t), "0", float(t), 0.1) for t in range(3)])
    assert alone.training_share is None
    assert alone.shares() == (None, None, None), "three trainings of one draw: no share is said"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_interval_of_the_share_covers(share):
    generator = np.random.default_rng(8)
    found = [
        components(simulate(generator, 3, 3, share**0.5, (1 - share) ** 0.5, 0.0)).training_share
        for _ in range(600)
    ]
    assert np.mean([low <= share <= high for _, low, high in found]) >= 0.93


def test_a_skewed_figure_has_an_interval_of_ratios():
    """By the published distances 90 [0, 208] became 82 [22, 310]: no figure under the floor."""
    cells = [TrainingFigure(str(t), "0", v) for t, v in enumerate((45.0, 78.0, 150.0))]
    assert estimate(cells).low < 0
    found = exponential(estimate(logarithms(cells)))
    assert found.value == pytest.approx((45 * 78 * 150) ** (1 / 3))
    assert found.low > 15
    assert found.high / found.value == pytest.approx(found.value / found.low)
    with pytest.raises(ValueError, match="no logarithm"):
        logarithms([TrainingFigure("0", "0", 0.0)])


def test_sampling_on_the_log_scale_is_relative():
    (one, cut, unknown) = logarithms(
        [
            TrainingFigure("0", "0", 5.0, None, 4.0, 6.0),
            TrainingFigure("0", "0", 5.0, None, 0.0, 15.0),
            TrainingFigure("0", "0", 5.0),
        ]
    )
    assert one.sampling == pytest.approx((0.2 / 1.959964) ** 2)
    assert cut.sampling == pytest.approx((2.0 / 1.959964) ** 2), "the end at 0 is no end"
    assert (unknown.sampling, unknown.low) == (None, None)


def test_these_clips_are_of_these_trainings():
    cells = [TrainingFigure(str(t), str(d), 10.0 * t + d) for t in range(3) for d in range(2)]
    found = these_clips(cells)
    assert found.value == estimate(cells).value == 10.5
    # MS_draw = 0.5, six cells, three degrees of freedom
    assert found.error == pytest.approx((0.5 / 6) ** 0.5)
    assert found.df == 3
    assert found.high < estimate(cells).high / 2
    assert these_clips([TrainingFigure(str(t), "0", float(t)) for t in range(3)]).low is None


def test_welch_by_hand():
    a = estimate([TrainingFigure(str(t), "0", v) for t, v in enumerate((1.0, 2.0, 3.0))])
    b = estimate([TrainingFigure(str(t), "0", v) for t, v in enumerate((4.0, 8.0, 12.0, 8.0))])
    found = difference(a, b)
    assert found.value == -6
    # variances 1/3 and (32/3)/4 = 8/3: error sqrt(3), df 9 / (1/18 + 64/27)
    assert found.error == pytest.approx(3**0.5)
    assert found.df == pytest.approx(9 / (1 / 18 + 64 / 27))
    together = difference(a, b, shared=1.0)
    assert together.error == pytest.approx(2.0), "which pieces were asked comes on top"


def test_the_same_number_of_a_seed_pairs_nothing():
    """Two systems' seeds 0, 1, 2 are as good as 2, 0, 1: nothing may depend on their order."""
    values = [(1.0, 5.0, 9.0), (2.0, 6.0, 10.0)]
    found = [
        difference(*(estimate([TrainingFigure(s, "0", v) for s, v in zip(order, of, strict=True)])
                     for order, of in zip((tuple("012"), other), values, strict=True)))
        for other in (tuple("012"), tuple("201"))
    ]  # fmt: skip
    assert found[0].error == found[1].error > 1


def test_without_spread_no_error_is_known():
    a, b = (estimate([TrainingFigure(str(t), "0", v) for t in range(3)]) for v in (0.1, 0.3))
    assert difference(a, b).p is None, "three equal counts are no certainty"
    assert difference(a, a).p is None


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7]) == [0.7]


def test_benjamini_hochberg_by_hand():
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert benjamini_hochberg([]) == []
    assert benjamini_hochberg([0.7]) == [0.7]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_benjamini_hochberg_is_scipys_and_never_stricter_than_holm(values):
    found = benjamini_hochberg(values)
    if values:
        assert found == pytest.approx(list(stats.false_discovery_control(values)))
    assert all(b <= h + 1e-12 for b, h in zip(found, holm(values), strict=True))


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_raises_and_keeps_the_order(values):
    corrected = holm(values)
    assert all(c >= v and c <= 1 for c, v in zip(corrected, values, strict=True))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert all(corrected[i] <= corrected[j] for i, j in itertools.pairwise(order))


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
    found = Estimate(
        middle, low, high, 1.0, 4, ("0",), ("0",), components([TrainingFigure("0", "0", 1.0)])
    )
    assert verdict(found, p, lower) == said


def test_sampling_variance_of_an_interval():
    assert sampling_variance(-1.959964, 1.959964) == pytest.approx(1.0)
    assert sampling_variance(None, 1.0) is None
