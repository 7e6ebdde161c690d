"""How often the 95 % interval of a listening test holds the truth, by simulation.

    python benchmarks/bench_preference.py [REPETITIONS]

Four systems and real music; each listener has tastes of her own (sd .6 on the scale of strengths)
and judges 20 pairs. The truth is the Bradley-Terry fit of very many such listeners. Beside Étude's
interval stand the two that are usual: percentiles with listeners resampled, and with ratings
resampled.
"""

import sys

import numpy as np
import pytest

from etude.results.preference import REPLICATES, odds_and_spread, strengths

TRUE = np.array([0.0, -0.4, -0.9, -1.6, 0.3])  # the first is real music
SD, PAIRS, TIES = 0.6, 20, 0.15


def listeners(count, random):
    """Their wins: [count, K, K]."""
    k = len(TRUE)
    wins = np.zeros((count, k, k))
    tastes = TRUE + random.normal(0, SD, (count, k))
    a = random.integers(0, k, (count, PAIRS))
    b = (a + random.integers(1, k, (count, PAIRS))) % k
    rows = np.arange(count)[:, None]
    p = 1 / (1 + np.exp(-(tastes[rows, a] - tastes[rows, b])))
    share = np.where(random.random(p.shape) < TIES, 0.5, random.random(p.shape) < p)
    np.add.at(wins, (rows, a, b), share)
    np.add.at(wins, (rows, b, a), 1 - share)
    return wins


def percentiles(tables, random):
    draws = random.multinomial(len(tables), [1 / len(tables)] * len(tables), REPLICATES)
    again = strengths(np.tensordot(draws, tables, 1))
    return np.percentile(again - again[:, :1], [2.5, 97.5], axis=0)


def ratings_resampled(wins, random):
    total = wins.sum(0)
    n = max(int(total.sum()), 1)
    again = random.multinomial(n, (total / total.sum()).ravel(), REPLICATES).reshape(
        -1, *total.shape
    )
    again = strengths(again.astype(float))
    return np.percentile(again - again[:, :1], [2.5, 97.5], axis=0)


def coverage(count, repetitions, seed=0):
    """Shares of intervals that hold the truth: Étude's, listeners', ratings' percentiles."""
    random = np.random.default_rng(seed)
    truth = strengths(listeners(20_000, random).sum(0), ridge=1e-3)
    truth = truth - truth[0]
    held = np.zeros(3)
    for number in range(repetitions):
        wins = listeners(count, random)
        odds, width = odds_and_spread(wins, 0, number)
        bounds = [
            (odds - width, odds + width),
            percentiles(wins, random),
            ratings_resampled(wins, random),
        ]
        for place, (low, high) in enumerate(bounds):
            held[place] += ((low <= truth) & (truth <= high))[1:].mean()
    return held / repetitions


@pytest.mark.proof
@pytest.mark.parametrize("count", [6, 12, 24])
def test_the_interval_holds_what_it_says(count):
    own, by_percentile, by_rating = coverage(count, 150)
    assert 0.91 <= own <= 0.985
    assert by_rating < own
    assert by_percentile < own


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("coverage of 95 % intervals; listeners  etude  percentile  ratings resampled")
    for count in (6, 12, 24):
        print(f"{count:>40} " + "  ".join(f"{share:.3f}" for share in coverage(count, repetitions)))
