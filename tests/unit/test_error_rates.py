"""How often verdicts are wrong, on made-up runs whose truth is known; docs/statistics.md has more.

A share of `n` runs is held to what it should be and three standard errors.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from verdicts import Design, figures, rates

from etude.results import differences
from etude.results.statistics import holm

LEVEL = 0.05


def most(runs, share=LEVEL):
    return share + 3 * math.sqrt(share * (1 - share) / runs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "runs"),
    [
        (Design(3, 1, metrics=2), 200),
        (Design(3, 3, metrics=8), 150),
        (Design(3, 3, metrics=22, alike=0.7), 60),
        (Design(3, 1, metrics=22, train=0.0, draw=0.0), 80),
        (Design(3, 3, metrics=2, systems=4), 100),
        (Design(3, 3, metrics=2, log=True, draw=0.1, sampling=0.1), 200),
    ],
)
def test_of_identical_systems_nothing_is_claimed(design, runs):
    found = rates(design, runs)
    assert found.primary <= most(runs)
    assert found.exploratory <= most(runs)
    assert found.covered >= 1 - most(runs * math.comb(design.systems, 2))
    assert found.verdicts == runs * math.comb(design.systems, 2) * design.metrics


@pytest.mark.parametrize("train", [0.0, 1.0, 5.7])
def test_one_training_makes_no_verdict_however_it_varies(train):
    """It was wrong in 5, 18 and 74 % of runs; these clips' interval is right of these clips only."""
    found = rates(Design(1, 1, metrics=22, train=train, draw=0.0, sampling=1.0), 40)
    assert (found.primary, found.exploratory, found.verdicts) == (0, 0, 0)
    assert (found.covered > 0.85) == (train == 0), "of the systems it says nothing"


@pytest.mark.slow
def test_what_is_really_apart_is_found_and_few_claims_are_false():
    found = rates(Design(metrics=22, train=0.5, truths=(0.0, 5.0), moved=7), 60)
    assert found.primary > 0.9
    assert found.exploratory > 0.9
    assert found.false <= most(60)


@pytest.mark.slow
def test_without_the_corrections_the_rates_would_not_hold(monkeypatch):
    """What these tests can see: 22 metrics of which each is tested alone."""
    monkeypatch.setattr(differences, "benjamini_hochberg", list)
    assert rates(Design(metrics=22), 40).exploratory > 0.4
    monkeypatch.setattr(differences, "holm", list)
    assert rates(Design(metrics=1, systems=6), 40).primary > most(40)


def test_the_family_is_of_all_pairs(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        differences, "holm", lambda values: sizes.append(len(values)) or holm(values)
    )
    design = Design(systems=4, metrics=3)
    made = figures(design, np.random.default_rng(0))
    rows = list(differences.differences(made, {}, design.names[0]))
    assert sizes == [6]
    assert {r["family"] for r in rows if r["role"] == "exploratory"} == {12}
