"""The n-gram model: by hand, sums to one, finds structure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused

from etude.systems.ngram import NGram, discounts

CORPUS = st.lists(st.lists(st.integers(0, 4), max_size=20), min_size=1, max_size=6).filter(any)


def test_a_bigram_by_hand():
    """Tokens a a b (0 0 1) and a b (0 1): worked out on paper, discounts of half a count."""
    model = NGram(vocabulary=3, order=2).fit([[0, 0, 1], [0, 1]])
    # Different contexts before a: start, a; before b: a. So continuation counts 2, 1, 0 of 3.
    unigram = np.array([1.5, 0.5, 0.0]) / 3 + (1.0 / 3) / 3
    assert model.distribution(np.array([[0]]))[0] == pytest.approx(
        np.array([0.5, 1.5, 0.0]) / 3 + (1.0 / 3) * unigram
    )  # after a: a once, b twice
    assert model.distribution(np.array([[3]]))[0] == pytest.approx(
        np.array([1.5, 0.0, 0.0]) / 2 + (0.5 / 2) * unigram
    )  # at a beginning: a twice
    assert model.distribution(np.array([[2]]))[0] == pytest.approx(unigram)  # never seen


def test_discounts_by_chen_and_goodman():
    counts = np.repeat([1, 2, 3, 4], [8, 4, 2, 1])
    y = 8 / (8 + 2 * 4)
    expected = [0, 1 - 2 * y * 4 / 8, 2 - 3 * y * 2 / 4, 3 - 4 * y * 1 / 2]
    assert discounts(counts) == pytest.approx(expected)
    assert discounts(np.array([1, 1])) == pytest.approx([0, 0.5, 0.5, 0.5])


@settings(max_examples=40, deadline=None)
@given(CORPUS, st.integers(1, 5), st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_sums_to_one_after_any_context(corpus, order, context):
    model = NGram(5, order).fit(corpus)
    found = model.distribution(np.array([context[: order - 1]], dtype=np.int64).reshape(1, -1))
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert (found > 0).all()


@settings(max_examples=40, deadline=None)
@given(CORPUS, st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_probabilities_are_those_of_the_distribution(corpus, order, held_out):
    model = NGram(5, order).fit(corpus)
    padded = [5] * (order - 1) + held_out
    contexts = np.array([padded[i : i + order - 1] for i in range(len(held_out))], dtype=np.int64)
    expected = model.distribution(contexts.reshape(len(held_out), -1))
    assert model.probabilities(held_out) == pytest.approx(
        expected[np.arange(len(held_out)), held_out], rel=1e-10
    )


def test_finds_structure_and_samples_it():
    generator = np.random.default_rng(0)
    data = [[(start + i) % 7 for i in range(60)] for start in generator.integers(0, 7, 40)]
    model = NGram(7).fit(data)
    noise = [generator.integers(0, 7, 60).tolist() for _ in range(4)]
    assert model.perplexity(data) < 1.2
    assert model.perplexity(noise) > 7
    made = model.sample(4, 30, seed=1)
    steps = np.diff(np.array(made)) % 7
    assert (steps == 1).mean() > 0.9


def test_samples_are_seeded_and_do_not_hang_on_the_batch():
    model = NGram(5).fit([[0, 1, 2, 3, 4, 3, 2, 1, 0, 0, 2, 4]])
    made = model.sample(6, 20, seed=3)
    assert made == model.sample(6, 20, seed=3)
    assert made[:2] == model.sample(2, 20, seed=3)
    assert made != model.sample(6, 20, seed=4)


def test_samples_begin_and_end_as_asked():
    model = NGram(4).fit([[0, 1, 2, 3]] * 5)
    made = model.sample(3, 50, seed=0, begin=[0, 1], end=3)
    assert all(m[:2] == [0, 1] and 3 not in m[:-1] for m in made)
    assert any(m[-1] == 3 and len(m) < 50 for m in made)
    assert model.sample(0, 5, seed=0) == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([], "no-tokens"),
        ([[]], "no-tokens"),
        ([[0, 9]], "token-out-of-range"),
        ([[-1]], "token-out-of-range"),
    ],
)
def test_bad_tokens_are_refused(data, code):
    with refused(code):
        NGram(5).fit(data)


def test_a_token_equal_to_the_mark_is_refused():
    with refused("token-out-of-range"):
        NGram(5).fit([[5, 1]])


def test_nothing_held_out_has_no_perplexity():
    assert np.isnan(NGram(5).fit([[1]]).perplexity([[]]))
