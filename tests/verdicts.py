"""How often verdicts are wrong: made-up runs of systems whose truth is known.

Every figure is truth + training + draw + sampling, as the model in etude/results/statistics.py has
it; figures of one metric or all metrics of a cell may move together. The rows go through the code
that writes differences.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etude.results.differences import differences
from etude.results.leaderboard import ExperimentFigures
from etude.results.statistics import NORMAL

PRIMARY = ("kad", "e")
CLAIMS = ("better", "worse", "differs")


@dataclass(frozen=True)
class Design:
    """A run: how many systems, trainings of each, draws of each, and what varies by how much.

    Attributes:
        train, draw, sampling: standard deviations.
        alike: correlation of the metrics of one cell.
        truths: by system what is added to every metric; empty: all are the same.
        moved: how many of the exploratory metrics the truths move; the rest, nothing does.
        log: figures are the exponential of all this (a Fréchet distance).
    """

    trainings: int = 3
    draws: int = 3
    systems: int = 2
    metrics: int = 8
    train: float = 1.0
    draw: float = 0.5
    sampling: float = 0.5
    alike: float = 0.0
    truths: tuple[float, ...] = ()
    moved: int = 0
    log: bool = False

    @property
    def names(self) -> list[tuple[str, str]]:
        """Metric and embedding: the primary one, then the exploratory ones."""
        first = ("frechet_distance", "e") if self.log else PRIMARY
        return [first, *((f"m{i}", "") for i in range(self.metrics - 1))]


def figures(design: Design, generator: np.random.Generator) -> list[ExperimentFigures]:
    """One run, its tables as they are read."""
    shape = (design.trainings, design.draws, design.metrics)
    found = []
    for system in range(design.systems):
        values = _noise(generator, (shape[0], 1, shape[2]), design.train, design.alike)
        values = values + _noise(generator, shape, design.draw, design.alike)
        values = values + _noise(generator, shape, design.sampling, design.alike)
        truth = design.truths[system] if design.truths else 0.0
        values[..., : 1 + design.moved] += truth
        half = NORMAL * design.sampling
        rows = [
            _row(design, name, str(t), str(d), float(values[t, d, m]), half)
            for m, name in enumerate(design.names)
            for t in range(design.trainings)
            for d in range(design.draws)
        ]
        found.append(ExperimentFigures(f"s{system}", rows))
    return found


def _noise(
    generator: np.random.Generator, shape: tuple[int, ...], deviation: float, alike: float
) -> np.ndarray:
    """Normal noise whose last axis is correlated."""
    own = generator.standard_normal(shape)
    common = generator.standard_normal((*shape[:-1], 1))
    return deviation * (np.sqrt(1 - alike) * own + np.sqrt(alike) * common)


def _row(
    design: Design, name: tuple[str, str], seed: str, draw: str, value: float, half: float
) -> dict[str, str]:
    ends = (value, value - half, value + half)
    if design.log and name == design.names[0]:
        middle = float(np.exp(value))
        ends = (middle, middle * (1 - half), middle * (1 + half))
    row = dict(zip(("value", "ci_low", "ci_high"), (f"{end:.6f}" for end in ends), strict=True))
    same = dict.fromkeys(("reference", "split", "unit", "config_hash", "data_hash", "note"), "")
    about = {"metric": name[0], "embedding": name[1], "clips": "generated", "n": "64"}
    return row | same | about | {"train_seed": seed, "draw": draw}


@dataclass(frozen=True)
class Rates:
    """Shares of simulated runs (of intervals, of claims)."""

    primary: float  # runs with a claim by the primary metric
    exploratory: float  # runs with any exploratory claim
    false: float  # mean share of the exploratory claims that are of metrics nothing moves
    covered: float  # intervals of the primary metric that hold the true difference
    verdicts: int  # tests that were made


def rates(design: Design, runs: int, seed: int = 0) -> Rates:
    """What `runs` runs of a design conclude."""
    generator = np.random.default_rng(seed)
    counts = {"primary": 0, "exploratory": 0, "verdicts": 0}
    false, covered = [], []
    still = {name for name, _ in design.names[1 + design.moved :]}
    for _ in range(runs):
        rows = list(differences(figures(design, generator), {}, design.names[0]))
        claims = [row for row in rows if row["verdict"] in CLAIMS]
        own = [row for row in claims if row["role"] == "exploratory"]
        counts["primary"] += len(own) < len(claims)
        counts["exploratory"] += bool(own)
        counts["verdicts"] += sum(bool(row["p"]) for row in rows)
        false.append(sum(row["metric"] in still for row in own) / max(len(own), 1))
        covered += [_holds(row, design) for row in rows if row["role"] == "primary"]
    shares = {key: counts[key] / runs for key in ("primary", "exploratory")}
    means = {"false": float(np.mean(false)), "covered": float(np.mean(covered))}
    return Rates(**shares, **means, verdicts=counts["verdicts"])


def _holds(row: dict[str, str], design: Design) -> bool:
    truths: Sequence[float] = design.truths or (0.0,) * design.systems
    true = truths[int(row["a"][1:])] - truths[int(row["b"][1:])]
    true = float(np.exp(true)) if design.log else true
    return float(row["ci_low"]) <= true <= float(row["ci_high"])
