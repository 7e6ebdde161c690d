"""A verdict in words that name the rivals: for fad.txt, its last line, the page and the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from etude.results.gate import (
    BEATEN,
    FAILS,
    HOLDS,
    LOST,
    NOTHING,
    UNDECIDED,
    Against,
    Verdict,
    overall,
)
from etude.results.rates import ORDER, Rate
from etude.results.systems import in_words

VERSION = 1  # raised when the words change

BAD_FIRST = (LOST, UNDECIDED, BEATEN)


def sentence(verdicts: Sequence[Verdict]) -> str:
    """What the gate says of an experiment, without its name: the word, and why."""
    said = f"{overall(verdicts)}{_how_many(verdicts)}"
    return ": ".join(filter(None, (said, "; ".join(reasons(verdicts)))))


def reasons(verdicts: Sequence[Verdict]) -> list[str]:
    """Why: rivals that were lost to first, then what is undecided, then what was beaten."""
    by_rival = _worst_by_rival(verdicts)
    of = len(verdicts)
    parts = [
        _listed("farther from real music than", LOST, by_rival, of),
        *(_rate(rate) for rate in _worst_rates(verdicts) if rate.word == FAILS),
        _listed("not clearly nearer than", UNDECIDED, by_rival, of),
        *(_rate(rate) for rate in _worst_rates(verdicts) if rate.word == UNDECIDED),
        _listed("nearer to real music than", BEATEN, by_rival, of),
        *dict.fromkeys(verdict.why for verdict in verdicts),
    ]
    return list(filter(None, parts))


def said_of_rates(verdicts: Sequence[Verdict]) -> str:
    """The upper bounds of all rates: "none of n" says nothing."""
    return "; ".join(map(_rate, _worst_rates(verdicts)))


def gate(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """The last line of fad.txt.

    Args:
        verdicts: by experiment, one for each training seed and draw.
    """
    if not verdicts:
        return "gate: n/a (no trained experiment)"
    every = [one for of in verdicts.values() for one in of]
    parts = []
    for name, of in verdicts.items():
        rest = "; ".join((*reasons(of), *_held(of)))
        parts.append(f"{name} {overall(of)}{_how_many(of)}" + f": {rest}" * bool(rest))
    if len(verdicts) == 1:
        parts = [parts[0].removeprefix(f"{next(iter(verdicts))} {overall(every)}").lstrip(": ")]
    return f"gate: {overall(every)} ({'. '.join(parts) or 'nothing is asked'})"


def _held(verdicts: Sequence[Verdict]) -> list[str]:
    """The rates that are no reason yet: also where the gate holds their bounds are told."""
    return [_rate(rate) for rate in _worst_rates(verdicts) if rate.word == HOLDS]


def _how_many(verdicts: Sequence[Verdict]) -> str:
    if len(verdicts) < 2:
        return ""
    good = sum(verdict.word == HOLDS for verdict in verdicts)
    return f" ({good} of {len(verdicts)} sets of clips hold)"


def _worst_by_rival(verdicts: Iterable[Verdict]) -> dict[str, list[Against]]:
    """By rival all verdicts of the worst word that it has."""
    found: dict[str, list[Against]] = {}
    for one in (one for verdict in verdicts for one in verdict.rivals):
        known = found.setdefault(one.rival, [])
        if known and BAD_FIRST.index(one.word) < BAD_FIRST.index(known[0].word):
            known.clear()
        if not known or one.word == known[0].word:
            known.append(one)
    return found


def _listed(head: str, word: str, by_rival: Mapping[str, list[Against]], of: int) -> str:
    """`head` and the rivals of one word; where not all sets of clips say so, how many do."""
    said: list[tuple[str, str]] = []
    for rival, found in by_rival.items():
        if found[0].word == word:
            count = f"in {len(found)} of {of}" * (len(found) < of)
            said.append((in_words(rival), ", ".join(filter(None, (count, _evidence(found))))))
    whys = {why for _, why in said}
    if len(said) > 1 and len(whys) == 1 and "" not in whys:  # what is true of all is told once
        said = [*((name, "") for name, _ in said[:-1]), (said[-1][0], f"each: {said[-1][1]}")]
    listed = ", ".join(name + f" ({why})" * bool(why) for name, why in said)
    return f"{head} {listed}" if said else ""


def _evidence(found: Sequence[Against]) -> str:
    """Of a rival that was lost to the differences; of an undecided one what it needs."""
    first = found[0]
    if first.word == LOST:
        return ", ".join(
            f"{one.by} {one.value:+.3g} [{one.low:.3g}, {one.high:.3g}]" for one in first.by
        )
    if first.word == UNDECIDED:
        if first.why:
            return first.why
        known = [one.needs for one in found if one.needs is not None]
        return f"needs {max(known):,} clips" if len(known) == len(found) else "too alike to tell"
    return ""


def _worst_rates(verdicts: Iterable[Verdict]) -> list[Rate]:
    found: dict[str, Rate] = {}
    for rate in (rate for verdict in verdicts for rate in verdict.rates):
        known = found.setdefault(rate.name, rate)
        worse = (ORDER.index(rate.word), rate.high or 0), (ORDER.index(known.word), known.high or 0)
        if worse[0] > worse[1]:
            found[rate.name] = rate
    return list(found.values())


def _rate(rate: Rate) -> str:
    """`silent clips at most 4.6 %`; where it fails or is undecided, against which limit."""
    limit = f"limit {percent(rate.limit)}"
    if rate.high is None or rate.low is None:
        return f"{rate.name} n/a: {rate.note}"
    told = f"{rate.note}" if rate.note else ""
    if rate.word == FAILS:
        said, told = f"at least {percent(rate.low)}", "; ".join(filter(None, (limit, told)))
    else:
        said = f"at most {percent(rate.high)}"
    if rate.word == UNDECIDED:
        needs = f"needs {rate.needs:,} {rate.of}" * bool(rate.needs)
        told = "; ".join(filter(None, (limit, needs, told)))
    said += " beyond held-out ones" * (rate.of == "beginnings")
    return f"{rate.name} {said}" + f" ({told})" * bool(told)


def percent(share: float) -> str:
    """A share in per cent, a digit behind the point where it is below 10 %."""
    return f"{100 * share:.{1 if abs(share) < 0.0995 else 0}f} %"
