"""How often verdicts are wrong, by simulation: the tables of docs/statistics.md.

python benchmarks/bench_verdicts.py          prints them (minutes)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":  # pytest has these folders on its path
    home = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(home), str(home / "tests"), str(home / "benchmarks")]

from record import table
from verdicts import Design, Rates, rates

pytestmark = pytest.mark.proof

RUNS = int(os.environ.get("ETUDE_VERDICTS", "1000"))
MOST, COVERED = 0.05, 0.95  # the levels that are promised
SLACK = 0.021  # three standard errors of 1000 runs

ONE = Design(1, 1, draw=0.0, sampling=1.0, metrics=22)
THREE = Design(3, 1, draw=0.0, sampling=1.0, metrics=8)
FULL = Design(3, 3, draw=0.5, sampling=0.5)
# All systems are the same: whatever is claimed is false.
SAME = {
    "sampling alone": [
        Design(1, 1, train=0.0, draw=0.0, sampling=1.0, metrics=22),
        Design(3, 1, train=0.0, draw=0.0, sampling=1.0, metrics=8),
        Design(3, 3, train=0.0, draw=0.0, sampling=1.0, metrics=8),
    ],
    "training = sampling": [ONE, THREE, Design(3, 3, draw=0.0, sampling=1.0)],
    "training = 3 x sampling": [
        Design(1, 1, train=3.0, draw=0.0, sampling=1.0, metrics=22),
        Design(3, 1, train=3.0, draw=0.0, sampling=1.0, metrics=8),
        Design(3, 3, train=3.0, draw=0.0, sampling=1.0),
    ],
    "training = 2 x draw = 2 x sampling": [
        Design(3, 3, metrics=2),
        FULL,
        Design(3, 3, metrics=22),
        Design(3, 3, metrics=22, alike=0.7),
        Design(3, 3, metrics=8, systems=4),
        Design(2, 3, metrics=8),
    ],
    "Fréchet distance, sd of the logarithm 0.5": [
        Design(3, 3, train=0.5, draw=0.1, sampling=0.1, metrics=2, log=True)
    ],
    "Fréchet distance, sd of the logarithm 1": [
        Design(3, 3, train=1.0, draw=0.1, sampling=0.1, metrics=2, log=True)
    ],
}
# Two systems that differ by this many standard deviations of training, 3 x 3, by the primary
# metric and 7 of 21 exploratory ones.
APART = (1.0, 2.0, 3.0, 5.0)


def same() -> list[tuple[str, Design, Rates]]:
    """Systems that do not differ."""
    return [(name, d, rates(d, RUNS)) for name, designs in SAME.items() for d in designs]


def apart() -> list[tuple[float, Rates]]:
    """Systems that do."""
    return [(by, rates(Design(metrics=22, truths=(0.0, by), moved=7), RUNS // 2)) for by in APART]


def lines(same: list[tuple[str, Design, Rates]], apart: list[tuple[float, Rates]]) -> list[str]:
    """Both tables, as Markdown."""
    head = ["what varies", "trainings x draws", "systems", "metrics", "primary", "exploratory"]
    rows: list[list[object]] = [
        [name, f"{d.trainings} x {d.draws}", d.systems, f"{d.metrics}{' alike' * (d.alike > 0)}"]
        + ([f"{r.primary:.1%}", f"{r.exploratory:.1%}"] if r.verdicts else ["none made"] * 2)
        + [f"{r.covered:.1%}"]
        for name, d, r in same
    ]
    text = table([*head, "interval covers"], rows)
    head = ["apart by", "said by the primary metric", "of exploratory claims false"]
    found = [[f"{by:g} sd", f"{r.primary:.0%}", f"{r.false:.1%}"] for by, r in apart]
    return [*text, "", *table(head, found)]


def test_verdicts_are_wrong_as_rarely_as_is_promised():
    found = same()
    print("\n".join(lines(found, differ := apart())))
    for name, design, rate in found:
        assert rate.primary <= MOST + SLACK, (name, design)
        assert rate.exploratory <= MOST + SLACK, (name, design)
        if design.trainings > 1:
            assert rate.covered >= COVERED - SLACK, (name, design)
        else:
            assert not rate.verdicts
    assert all(rate.false <= MOST + 2**0.5 * SLACK for _, rate in differ)


if __name__ == "__main__":
    print("\n".join(lines(same(), apart())))
