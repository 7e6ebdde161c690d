"""What a metric hears of the ladder: values, power, reward, order along the dose.

Power is the share of draws of n corrupted clips whose KAD exceeds the 95 % point of draws of n real
ones. The draws share a pool, so a pool of several times n clips is needed. Reward is judged on the
whole pool: the jackknife over pieces of the difference to the same clips as they are, one-sided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from etude.metrics.frechet import Reference
from etude.metrics.kad import Kernel
from etude.metrics.kad_clips import Apart, Tally
from etude.metrics.registry import embedding, projection, residual_weight
from etude.metrics.space import Space

Array = np.ndarray

LONG = ("form",)  # embeddings that take an excerpt as it is
SHORT_SECONDS = 2.0
NULL_DRAWS, DRAWS, FD_DRAWS = 400, 200, 20


@dataclass(frozen=True)
class Rows:
    """Embedded clips: rows [n, d], the clip of each row, the piece of each clip."""

    table: Array
    clips: Array
    pieces: list[str]


def cut(waves: Sequence[Array], pieces: Sequence[str], rate: int) -> tuple[list[Array], list[str]]:
    """Two clips of 2 s from each excerpt of 8 s, at random places, one in either half."""
    size, found, names = round(SHORT_SECONDS * rate), [], []
    for number, (wave, piece) in enumerate(zip(waves, pieces, strict=True)):
        random, half = np.random.default_rng([number, 5]), len(wave) // 2
        for first in (0, half):
            at = first + int(random.integers(0, half - size + 1))
            found.append(wave[at : at + size])
            names.append(piece)
    return found, names


def embed(name: str, waves: Sequence[Array], pieces: Sequence[str], rate: int) -> Rows:
    """Excerpts in one embedding: cut to 2 s, unless it needs them whole."""
    clips, names = (waves, list(pieces)) if name in LONG else cut(waves, pieces, rate)
    model = embedding(name)(rate)
    rows = [model.embed(np.asarray(clip, np.float64)[None])[0] for clip in clips]
    numbers = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    return Rows(np.concatenate(rows), numbers, names)


class Ear:
    """One embedding with a reference and the real clips of the pool that is corrupted."""

    def __init__(self, name: str, reference: Rows, real: Rows, sizes: Sequence[int] = (32, 64)):
        pieces = np.array(reference.pieces)[reference.clips]
        weight = residual_weight(name)
        self.space = Space(reference.table, *projection(name), weight, pieces)
        self.apart = Apart(Kernel(self.space.rows), pieces)
        self.frechet = Reference(self.space.rows)
        self.sizes = sizes
        self.real = self.tally(real)
        self.real_fd = self.fd(real)
        # Of a pool of n there is one draw of n, and no power.
        sizes = [n for n in sizes if n < len(real.pieces)]
        null = {n: self.draws(self.real, n, NULL_DRAWS, 1) for n in sizes}
        self.limits = {n: np.quantile(values, 0.95) for n, values in null.items()}

    def tally(self, rows: Rows) -> Tally:
        return self.apart.tally(self.space(rows.table), rows.clips, rows.pieces)

    def draws(self, tally: Tally, n: int, count: int, seed: int) -> Array:
        """KAD of so many draws of n clips."""
        random = np.random.default_rng([seed, n])
        weights = np.zeros((len(tally.rows), count))
        for column in range(count):
            weights[random.choice(len(weights), n, replace=False), column] = 1
        return tally.kad(weights)

    def fd(self, rows: Rows) -> float:
        """Mean Fréchet distance of draws of the smallest n clips."""
        distances, random = self.frechet.prepare(self.space(rows.table)), np.random.default_rng(3)
        numbers = np.unique(rows.clips)
        size = min(self.sizes[0], len(numbers))
        chosen = (random.choice(numbers, size, replace=False) for _ in range(FD_DRAWS))
        return float(np.mean([distances(np.flatnonzero(np.isin(rows.clips, c))) for c in chosen]))

    def hear(self, rows: Rows) -> dict[str, float]:
        """KAD, power at each n, Fréchet distance over the real clips', one-sided p of a reward.

        Power is NaN where the pool has no more than n clips.
        """
        tally = self.tally(rows)
        found = {"kad": float(tally.kad()[0]), "fd": self.fd(rows) / self.real_fd}
        found |= {f"power {n}": float("nan") for n in self.sizes}
        for n, limit in self.limits.items():
            found[f"power {n}"] = float((self.draws(tally, n, DRAWS, 2) > limit).mean())
        # The same excerpts in both: leaving a piece out leaves it out of both.
        change = tally.jackknife() - self.real.jackknife()
        n = len(change)
        deviation = np.sqrt((n - 1) / n * np.square(change - change.mean()).sum())
        shift = found["kad"] - float(self.real.kad()[0])
        found["reward p"] = float(stats.t.cdf(shift / max(deviation, 1e-12), n - 1))
        return found


def holm(p: dict[str, float], level: float = 0.05) -> list[str]:
    """Which hypotheses Holm's procedure rejects (Scandinavian Journal of Statistics 6, 1979)."""
    rejected = []
    for rank, name in enumerate(sorted(p, key=lambda k: p[k])):
        if p[name] > level / (len(p) - rank):
            break
        rejected.append(name)
    return rejected
