"""A verdict in words that name the rivals: for fad.txt, its last line, the page and the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from etude.results.gate import (
    BEATEN,
    CLIPS,
    FAILS,
    HOLDS,
    LOST,
    NOTHING,
    PIECES,
    UNDECIDED,
    Against,
    Verdict,
    overall,
)
from etude.results.rates import NOT_ASKED, ORDER, Rate, percent
from etude.results.systems import in_words

VERSION = 3  # raised when the words change

BAD_FIRST = (LOST, UNDECIDED, BEATEN)
HEADS = {
    (LOST, CLIPS): "farther from real music than",
    (LOST, PIECES): "on held-out pieces its words are worth less than",
    (UNDECIDED, CLIPS): "not clearly nearer than",
    (UNDECIDED, PIECES): "on held-out pieces its words are not clearly worth more than",
    (BEATEN, CLIPS): "nearer to real music than",
    (BEATEN, PIECES): "on held-out pieces its words are worth more than",
}


def sentence(verdicts: Sequence[Verdict], *, brief: bool = False, rates: bool = True) -> str:
    """What the gate says of an experiment, without its name: the word, and why.

    Args:
        brief: without the rivals that were beaten.
        rates: with the rates that do not hold; without them where `rates_sentence` follows.
    """
    parts = reasons(verdicts, brief=brief, rates=rates)
    why = "; ".join(filter(None, (_how_many(verdicts), *parts)))
    return ": ".join(filter(None, (overall(verdicts), why)))


def reasons(
    verdicts: Sequence[Verdict], *, brief: bool = False, rates: bool = True
) -> list[str]:
    """Why: rivals that were lost to first, then what is undecided, then what was beaten."""
    by_rival, of = _worst_by_rival(verdicts), len(verdicts)
    worst = _worst_rates(verdicts) if rates else []
    parts = [
        *_listed(LOST, by_rival, of),
        *(_rate(rate) for rate in worst if rate.word == FAILS),
        *_listed(UNDECIDED, by_rival, of),
        *(_rate(rate) for rate in worst if rate.word == UNDECIDED),
        *([] if brief else _listed(BEATEN, by_rival, of)),
        *(_rate(rate) for rate in worst if rate.word == NOT_ASKED),
        *dict.fromkeys(verdict.why for verdict in verdicts),
    ]
    return list(filter(None, parts))


def rates_sentence(verdicts: Sequence[Verdict]) -> str:
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
    if len(verdicts) == 1:
        rates = [_rate(rate) for rate in _worst_rates(every) if rate.word == HOLDS]
        parts = [_how_many(every), *reasons(every), *rates]
    else:
        parts = [f"{name} {_in_short(of)}" for name, of in verdicts.items()]
    return f"gate: {overall(every)} ({'; '.join(filter(None, parts))})"


def _in_short(verdicts: Sequence[Verdict]) -> str:
    """Why an experiment fails, or what an undecided one needs; everything else is said above."""
    word = overall(verdicts)
    if word != UNDECIDED:
        return sentence(verdicts, brief=True)
    needs: dict[str, int] = {}
    for verdict in verdicts:
        of_rivals = [(one.of, one.needs) for one in verdict.rivals]
        for of, n in [*of_rivals, *((rate.of, rate.needs) for rate in verdict.rates)]:
            if n and of in (CLIPS, PIECES):
                needs[of] = max(n, needs.get(of, 0))
    return word + f": needs {' and '.join(f'{n:,} {of}' for of, n in needs.items())}" * bool(needs)


def _how_many(verdicts: Sequence[Verdict]) -> str:
    if len(verdicts) < 2:
        return ""
    good = sum(verdict.word == HOLDS for verdict in verdicts)
    return f"{good} of {len(verdicts)} sets of clips hold"


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


def _listed(word: str, by_rival: Mapping[str, list[Against]], of: int) -> list[str]:
    """The rivals of one word, clip sets and ways of asking apart, each with its head."""
    return [f"{HEADS[word, unit]} {phrase}" for unit in (CLIPS, PIECES)
            if (phrase := _names(word, unit, by_rival, of))]  # fmt: skip


def _names(word: str, unit: str, by_rival: Mapping[str, list[Against]], of: int) -> str:
    """Rivals and why; where not all sets of clips say so, how many do."""
    phrase: list[tuple[str, str]] = []
    for rival, found in by_rival.items():
        if (found[0].word, found[0].of) == (word, unit):
            count = f"in {len(found)} of {of}" * (len(found) < of)
            phrase.append((in_words(rival), ", ".join(filter(None, (count, _evidence(found))))))
    whys = {why for _, why in phrase}
    if len(phrase) > 1 and len(whys) == 1 and "" not in whys:  # what is true of all is said once
        phrase = [*((name, "") for name, _ in phrase[:-1]), (phrase[-1][0], f"each: {phrase[-1][1]}")]
    return ", ".join(name + f" ({why})" * bool(why) for name, why in phrase)


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
        return f"needs {max(known):,} {first.of}" if len(known) == len(found) else "too alike to tell"
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
    if rate.high is None or rate.low is None:
        return f"{rate.name} n/a: {rate.note}"
    fails = rate.word == FAILS
    phrase = f"at least {percent(rate.low)}" if fails else f"at most {percent(rate.high)}"
    phrase += " beyond held-out ones" * (rate.of == "beginnings")
    details = (
        f"limit {percent(rate.limit)}" * (rate.word != HOLDS),
        f"needs {rate.needs or 0:,} {rate.of}" * bool(rate.needs),
        rate.note,
    )
    detail = "; ".join(filter(None, details))
    return f"{rate.name} {phrase}" + f" ({detail})" * bool(detail)

