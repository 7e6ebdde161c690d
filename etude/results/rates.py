"""Shares that must be small: silent clips, copies, training beginnings that are continued.

Conventions
    A rate is never "none of n": it has an upper bound. Against a limit L it `fails` where the
    lower bound is above L, is `undecided` where the upper one is above 3 L, and `holds` otherwise. What
    config switches off (`prefixes: 0`) is `not asked`: no figure can ever decide it, so the gate
    does not wait for it, and each verdict says what it is without.
    Bounds are one-sided, 95 %. Of several searches for copies, and of several lengths of
    beginnings, the worst decides: a model exactly at the limit is failed by each in 5 % of runs.

Metrics
    * shares of one sample: Clopper and Pearson (Biometrika 26, 1934), exact.
    * `excess`: of a share over another's, by Newcombe's hybrid of two Wilson intervals (Statistics
      in Medicine 17, 1998, method 10). No exact interval is as simple for two samples, and its
      coverage at small shares is near the nominal (tests/unit/test_gate.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from scipy.special import ndtri

from etude.metrics.memorisation.null import exact_interval

VERSION = 2  # raised when a verdict changes

HOLDS, FAILS, UNDECIDED, NOT_ASKED = "holds", "fails", "undecided", "not asked"
ORDER = (NOT_ASKED, HOLDS, UNDECIDED, FAILS)  # from good to bad
LEVEL = 0.95
EXCLUDED = 3  # a rate of this many limits must be impossible
ROUNDING = 1e-9  # relative

COPIED, RECALL, EXTRACTED = "memorised_", "recall_", "extracted_exact"
# The searches whose recall is high enough to decide; others are reported only.
DECIDING = ("exact", "fingerprint", "waveform", "chroma", "notes")
NO_NULL = "exact"  # equal samples are a copy, whatever held-out music does; their absence proves nothing

Row = Mapping[str, str]
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Rate:
    """A share against its limit.

    Attributes:
        of: what is counted: "clips" or "beginnings".
        value, low, high: the share and its one-sided bounds; None where there is none.
        needs: how many would decide; None where it is decided, or not measured.
        note: by what it was measured, or why it was not.
    """

    name: str
    of: str
    word: str
    limit: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    needs: int | None = None
    note: str = ""


def bounds(found: int, n: int) -> Bounds:
    """One-sided exact bounds of a share."""
    return exact_interval(found, n, 2 * LEVEL - 1)


def excess(found: int, n: int, control: int, m: int) -> Bounds:
    """One-sided bounds of found / n - control / m (Newcombe's method 10)."""
    p, q = found / n, control / m
    (low_p, high_p), (low_q, high_q) = _wilson(p, n), _wilson(q, m)
    low = p - q - math.hypot(p - low_p, high_q - q)
    return low, p - q + math.hypot(high_p - p, q - low_q)


def _wilson(p: float, n: int) -> Bounds:
    z = float(ndtri(LEVEL))
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def word(between: Bounds, limit: float) -> str:
    """The verdict of bounds on a limit."""
    low, high = (end * (1 - ROUNDING) for end in between)  # 1 of 1: 5 %, and not above it
    return FAILS if low > limit else UNDECIDED if high > EXCLUDED * limit else HOLDS


def readable(n: float) -> int:
    """Rounded up to two significant digits."""
    whole = math.ceil(n)
    power = 10 ** max(len(str(whole)) - 2, 0)
    return -(-whole // power) * power


def percent(share: float) -> str:
    """A share in per cent, with one decimal below 10 %."""
    return f"{100 * share:.{1 if abs(share) < 0.0995 else 0}f} %"


def _judged(rate: Rate, at: Callable[[int], Bounds]) -> Rate:
    """With its bounds at its own n, its word, and the n that would decide at the same shares."""
    low, high = at(rate.n)
    found = replace(rate, low=low, high=high, word=word((low, high), rate.limit))
    if found.word != UNDECIDED:
        return found
    n = rate.n
    while n < 1_000_000 and word(at(n), rate.limit) == UNDECIDED:
        n = math.ceil(1.1 * n) + 1
    return replace(found, needs=readable(n))


def _share(name: str, limit: float, value: float, n: int, note: str = "") -> Rate:
    rate = Rate(name, "clips", "", limit, value=value, n=n, note=note)
    return _judged(rate, lambda n: bounds(round(value * n), n))


def _missing(name: str, of: str, limit: float, why: str) -> Rate:
    return Rate(name, of, UNDECIDED, limit, note=why.removeprefix("n/a: ") or "not measured")


def _worst(rates: Iterable[Rate]) -> Rate:
    # Equal bounds: the search for equal samples says the least.
    return max(rates, key=lambda r: (ORDER.index(r.word), r.high or 0.0, r.note != NO_NULL))


def silence(rows: Iterable[Row], limit: float) -> Rate:
    """The share of generated clips that are silent."""
    for row in rows:
        if (row["clips"], row["metric"]) == ("generated", "silent") and row["value"]:
            n = int(row["n"] or 0)
            if n:
                return _share("silent clips", limit, float(row["value"]) / n, n)
    return _missing("silent clips", "clips", limit, "not measured")


def copies(rows: Iterable[Row], limit: float) -> Rate:
    """The share of generated clips that a search calls copies: of those that decide, the worst.

    The search for equal samples may fail a model, and alone lets none pass.
    """
    rows = list(rows)
    by_search = {
        row["metric"].removeprefix(COPIED): row
        for row in rows
        if row["clips"] == "generated" and row["metric"].startswith(COPIED)
    }
    asked = {name: by_search[name] for name in DECIDING if name in by_search}
    known = {
        name: _share("copies", limit, float(row["value"]), int(row["n"]), name)
        for name, row in asked.items()
        if row["value"] and int(row["n"] or 0)
    }
    left_out = [name for name in asked if name not in known]
    if known and (set(known) != {NO_NULL} or known[NO_NULL].word == FAILS):
        worst = _worst(known.values())
        details = [f"by {worst.note}", *_recall(rows)]
        details += [f"n/a: {', '.join(left_out)}"] if left_out else []
        return replace(worst, note="; ".join(details))
    why = next((asked[name]["note"] for name in left_out), "")
    return _missing("copies", "clips", limit, why or "nothing but equal samples was looked for")


def _recall(rows: Iterable[Row]) -> list[str]:
    """How much of what was planted the deciding searches find; each attack by the best of them."""
    found: dict[str, float] = {}
    for row in rows:
        search, _, attack = row["metric"].removeprefix(RECALL).partition("_")
        if row["metric"].startswith(RECALL) and search in DECIDING and row["value"]:
            found[attack] = max(found.get(attack, 0.0), float(row["value"]))
    if not found:
        return []
    least = min(found, key=lambda attack: found[attack])
    mean = sum(found.values()) / len(found)
    text = f"all searches together find {percent(mean)} of planted copies"
    return [f"{text}, {percent(found[least])} of `{least.replace('_', ' ')}`"]


def extraction(rows: Iterable[Row], limit: float, prefixes: int) -> Rate:
    """Training beginnings continued exactly, beyond held-out ones: of all lengths the worst.

    Args:
        prefixes: how many beginnings config asks for; 0: none.
    """
    name, of = "continued beginnings", "beginnings"
    if not prefixes:
        return Rate(name, of, NOT_ASKED, limit, note="not asked for (prefixes: 0)")
    cells = {
        (row["metric"], row["clips"].removeprefix("prefixes_")): row
        for row in rows
        if row["metric"].startswith(EXTRACTED)
    }
    rates = []
    for metric in dict.fromkeys(metric for metric, _ in cells):
        pair = [cells.get((metric, kind)) for kind in ("train", "held_out")]
        if any(row is None or not row["value"] or not int(row["n"] or 0) for row in pair):
            continue
        (p, n), (q, m) = ((float(row["value"]), int(row["n"])) for row in pair if row)
        length = metric.rpartition("_after_")[2]
        control = f" against {percent(q)}" * (q > 0)
        shares = f"{percent(p)}{control}" * (p > 0)
        after = f"after {length} tokens" * length.isdecimal()
        note = " ".join(filter(None, (shares, after)))
        rate = Rate(name, of, "", limit, value=p - q, n=n, note=note)
        rates.append(_judged(rate, partial(_at, p=p, q=q, ratio=m / n)))
    if rates:
        return _worst(rates)
    why = next((row["note"] for row in cells.values() if row["note"]), "")
    return _missing(name, of, limit, why)


def _at(n: int, p: float, q: float, ratio: float) -> Bounds:
    m = max(round(ratio * n), 1)
    return excess(round(p * n), n, round(q * m), m)
