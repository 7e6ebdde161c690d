"""What listeners preferred in blind pairs: "preferred over real music, % (interval)".

Conventions
    A rating is one listener's answer to one pair: -2, -1 (a is better), 0 (no difference), 1, 2
    (b is better), or empty (skipped). A system is an experiment, or `real`, held-out music.

How
    Strengths by Bradley and Terry (Biometrika 39, 1952): a is preferred to b with probability
    sigmoid(s_a - s_b); no difference counts as half a win for each (Newton's method on the log
    likelihood, with a weak ridge, so that a system that always won has a strength). The figure is
    sigmoid(s - s_real), in percent.

    The interval is of the average listener: listeners are resampled, not ratings, since answers of
    one person go together. On the scale of strengths it is t(L - 1) x SD x sqrt(L / (L - 1)) wide:
    of few listeners, percentiles are too narrow; and never narrower than independent answers are.
    benchmarks/bench_preference.py simulates how often it holds the truth. Of fewer than LISTENERS
    only the counts are given.

    Listeners who miss more than half of the catch pairs, whose answer is known, are left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import UserError
from etude.results.leaderboard import GENERATED, direction, number
from etude.results.leaderboard import PREFERRED as METRIC
from etude.storage import read_csv

VERSION = 1  # raised when figures change

UNIT = "%"
REAL = "real"
BROKEN = "broken"  # the worse side of a catch pair: music cut to grains in another order
LISTENERS = 5  # of fewer there is no interval
REPLICATES, RIDGE = 200, 0.5
LEAST_SETS = 4  # of fewer no correlation is told
COLUMNS = [
    *("listener", "pair", "a", "clip_a", "b", "clip_b", "condition", "answer", "catch"),
    "heard_s",
]
NOTHING = dict.fromkeys(COLUMNS, "")
PAGE = re.compile(r"[A-Za-z0-9_-]{8,43}")
ANSWERS = ("-2", "-1", "0", "1", "2")

Array = NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Rating:
    """One listener's answer to one pair; `catch`: its answer is known, a is the better one."""

    listener: str
    pair: str
    a: str
    b: str
    answer: int
    catch: bool = False


@dataclass
class Ratings:
    """What was read: ratings, and why others were left out, with how many."""

    kept: list[Rating] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    caught: int = 0  # catch pairs that were answered as they should
    catches: int = 0

    @property
    def listeners(self) -> list[str]:
        """Who answered pairs that count."""
        return list(dict.fromkeys(rating.listener for rating in self.kept))


def read_ratings(paths: Iterable[Path], keys: Path | None = None) -> Ratings:
    """Ratings of several files: see `counted`.

    Args:
        keys: folder with what the pairs of each page are: <page>.csv.

    Raises:
        UserError: a file cannot be read, or has other columns.
    """
    return counted(row for path in paths for row in _rows(path, keys))


def counted(rows: Iterable[Mapping[str, str]]) -> Ratings:
    """Each answer once, without listeners who missed the catch pairs."""
    found = Ratings()
    seen: set[tuple[str, str]] = set()
    every: list[Rating] = []
    for row in rows:
        if row["answer"] == "":
            found.left_out["skipped"] += 1
        elif row["answer"] not in ANSWERS or not row["a"] or not row["b"]:
            found.left_out["not readable"] += 1
        elif (key := (row["listener"], row["pair"])) in seen:
            found.left_out["the same answer twice"] += 1
        else:
            seen.add(key)
            catch, given = row["catch"] == "1", int(row["answer"])
            sides = (row["a"], row["b"]) if row["a"] != BROKEN else (row["b"], row["a"])
            given = given if row["a"] != BROKEN else -given
            every.append(Rating(*key, *sides, given, catch))
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for rating in every:
        if rating.catch:
            asked[rating.listener] += 1
            right[rating.listener] += rating.answer < 0
    found.catches, found.caught = asked.total(), right.total()
    careless = {who for who, count in asked.items() if right[who] < count / 2}
    for rating in every:
        if rating.listener in careless:
            found.left_out["of listeners who missed the catch pairs"] += 1
        elif not rating.catch:
            found.kept.append(rating)
    return found


def _rows(path: Path, keys: Path | None) -> list[dict[str, str]]:
    try:
        rows = [{k: v or "" for k, v in row.items() if k} for row in read_csv(path)]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("ratings cannot be read", code="unreadable-table", where=str(path), why=str(error)) from None
    page = rows[0].get("page", "") if rows else ""
    if keys is not None and PAGE.fullmatch(page):
        key = keys / f"{page}.csv"
        if not key.is_file():
            raise UserError(
                "what stands behind these pairs is not known here", code="pairs-not-known-here",
                where=str(path),
                why=f"{key} is missing: the page was made elsewhere",
                do="run this where `python -m etude listen --page` was run",
            )
        behind = {row["pair"]: row for row in read_csv(key)}
        rows = [behind.get(row["pair"], NOTHING) | row for row in rows]
    if rows and (missing := [name for name in COLUMNS[:9] if name not in rows[0]]):
        raise UserError(
            "this is no file of ratings", code="missing-column",
            where=str(path),
            why=f"its columns lack {', '.join(missing)}",
            do="name what the studio's `ratings.csv` or the page of `etude listen` has saved",
        )
    return rows


def strengths(wins: Array, ridge: float = RIDGE, steps: int = 30) -> Array:
    """Bradley-Terry strengths of a table of wins.

    Args:
        wins: [..., K, K], how often the row was preferred to the column, ties as halves.
        ridge: weight of the squared strengths, which keeps them finite.

    Returns:
        [..., K], with mean 0.
    """
    k = wins.shape[-1]
    both = wins + np.swapaxes(wins, -1, -2)
    found = np.zeros(wins.shape[:-1])
    eye = np.eye(k)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-(found[..., :, None] - found[..., None, :])))
        slope = (wins - both * p).sum(-1) - ridge * found
        weight = both * p * (1 - p)
        hessian = eye * (weight.sum(-1)[..., None] + ridge) - weight
        step = np.linalg.solve(hessian, slope[..., None])[..., 0].clip(-2, 2)
        found = found + step
        if np.abs(step).max(initial=0) < 1e-9:
            break
    return np.asarray(found - found.mean(-1, keepdims=True))


def tables(ratings: Sequence[Rating], systems: Sequence[str]) -> Array:
    """The wins of each listener: float64 [listeners, K, K]."""
    place = {name: number for number, name in enumerate(systems)}
    people = {who: n for n, who in enumerate(dict.fromkeys(r.listener for r in ratings))}
    wins = np.zeros((len(people), len(place), len(place)))
    for rating in ratings:
        a, b = place[rating.a], place[rating.b]
        share = 0.5 if rating.answer == 0 else float(rating.answer < 0)
        wins[people[rating.listener], a, b] += share
        wins[people[rating.listener], b, a] += 1 - share
    return wins


@dataclass(frozen=True)
class Preference:
    """How often a system is preferred over real music: percent, interval, and of what.

    Attributes: system, value, low, high (None: too few listeners), listeners, ratings (of pairs
    that it was in), strength (its log odds against real music).
    """

    system: str
    value: float | None
    low: float | None
    high: float | None
    listeners: int
    ratings: int
    strength: float = math.nan


def preferences(
    ratings: Sequence[Rating], reference: str = REAL, seed: int = 0
) -> list[Preference]:
    """Of every system but the reference, in the order of their names."""
    systems = sorted({name for rating in ratings for name in (rating.a, rating.b)} | {reference})
    wins = tables(ratings, systems)
    count = len(wins)
    used = wins.sum(0) + wins.sum(0).T
    enough = count >= LISTENERS
    of = systems.index(reference)
    odds = spread = np.zeros(len(systems))
    if enough:
        odds, spread = odds_and_spread(wins, of, seed)
    found = []
    for place, name in enumerate(systems):
        if name == reference:
            continue
        n = round(float(used[place].sum()))
        if enough and n and used[of].sum():
            at, wide = float(odds[place]), float(spread[place])
            value, low, high = (100 * _sigmoid(x) for x in (at, at - wide, at + wide))
            found.append(Preference(name, value, low, high, count, n, at))
        else:
            found.append(Preference(name, None, None, None, count, n))
    return found


def odds_and_spread(wins: Array, of: int, seed: int = 0) -> tuple[Array, Array]:
    """Log odds against one system, and half the width of their 95 % intervals: [K] each.

    Args:
        wins: [listeners, K, K]; listeners are drawn with replacement.
        of: the place of the system that all are compared with.
    """
    from scipy import stats

    count = len(wins)
    odds = strengths(wins.sum(0))
    draws = np.random.default_rng(seed).multinomial(count, [1 / count] * count, REPLICATES)
    again = strengths(np.tensordot(draws, wins, 1))
    deviation = (again - again[:, of : of + 1]).std(0, ddof=1)
    width = stats.t.ppf(0.975, count - 1) * deviation * math.sqrt(count / (count - 1))
    # Where all listeners answer alike they do not differ, but chance is left: as of single answers.
    width = np.maximum(width, 1.96 * _deviation_of_answers(wins.sum(0), odds, of))
    return odds - odds[of], width


def _deviation_of_answers(wins: Array, found: Array, of: int) -> Array:
    """Standard deviation of log odds against one system if all answers were independent: [K]."""
    p = 1 / (1 + np.exp(-(found[:, None] - found[None, :])))
    weight = (wins + wins.T) * p * (1 - p)
    hessian = np.diag(weight.sum(1) + RIDGE) - weight
    c = np.linalg.inv(hessian)
    variance = np.diag(c) + c[of, of] - 2 * c[of]
    return np.asarray(np.sqrt(variance.clip(0)))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def agreement(ratings: Sequence[Rating]) -> float | None:
    """How often two listeners who judged the same pair of systems agree on the better one.

    No difference counts as neither; None where no two answers can be compared.
    """
    by_pair: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for rating in ratings:
        if rating.answer:
            first = rating.a < rating.b
            key = (rating.a, rating.b) if first else (rating.b, rating.a)
            chosen = (rating.answer < 0) == first
            by_pair.setdefault(key, []).append((rating.listener, int(chosen)))
    same, total = 0.0, 0
    for answers in by_pair.values():
        people: dict[str, list[int]] = {}
        for who, better in answers:
            people.setdefault(who, []).append(better)
        ones = sum(sum(chosen) for chosen in people.values())
        n = len(answers)
        total += n * n - sum(len(c) ** 2 for c in people.values())
        agreeing = ones**2 + (n - ones) ** 2
        same += agreeing - sum(sum(c) ** 2 + (len(c) - sum(c)) ** 2 for c in people.values())
    return same / total if total else None


def correlations(board: Iterable[Row]) -> list[Row]:
    """Spearman's correlation of each metric with the listeners, over the experiments with both.

    Of metrics where lower is better the sign is turned: 1 is always agreement with the listeners.

    Args:
        board: rows of leaderboard.csv.

    Returns:
        metric, embedding, correlation, experiments; the closest first.
    """
    from scipy import stats

    values: dict[tuple[str, str], dict[str, float]] = {}
    for row in board:
        value = number(row.get("value"))
        has_direction = direction(row["metric"]) is not None if row.get("metric") else False
        if row["clips"] == GENERATED and has_direction and value is not None:
            of = values.setdefault((row["metric"], row["embedding"]), {})
            of[row["experiment"]] = value
    figures = values.pop((METRIC, ""), {})
    rows = []
    for (metric, embedding), of in values.items():
        names = sorted(of.keys() & figures.keys())
        pair = np.array([[of[name], figures[name]] for name in names])
        if len(names) < LEAST_SETS or (np.ptp(pair, axis=0) == 0).any():
            continue
        rho = float(stats.spearmanr(pair[:, 0], pair[:, 1]).statistic)
        rho = -rho if direction(metric) else rho
        entry = {"metric": metric, "embedding": embedding, "experiments": len(names)}
        rows.append(entry | {"correlation": round(rho, 3)})
    return sorted(rows, key=lambda row: -float(row["correlation"]))
