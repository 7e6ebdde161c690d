"""The gate: are generated clips clearly nearer to real music than those of a dumb baseline?

Conventions
    A verdict is of one set of clips (experiment, training seed, draw). It `holds` only where an
    interval says so, and it names the rivals that were beaten, lost to, or neither.

    A rival (of `rivals` in the system's settings class) is measured in rivals.csv: KAD(generated) -
    KAD(rival) under each of `evaluation.gate_embeddings`, 95 %, below 0 where the clips are nearer:
        beaten      the interval is below 0 under the primary embedding (where that is not gated:
                    under at least one), and above 0 under none
        lost        it is above 0 under any; the n-gram also where its likelihood is clearly better
        undecided   neither, or fewer than `gate_clips` clips; with the n that would decide
    Of a system with words, each way of asking that a word must beat is a rival too (CONTROLS of
    etude.config.concepts; rows of concept.csv): nats per token of held-out segments under the word
    less those under the control, 95 % over pieces. Here `beaten` means below 0 for every concept,
    `lost` above 0 for any. A concept that the codec cannot express leaves the gate undecided. Distances
    do not judge a system that makes nothing but its concepts (it has no rivals among clip sets):
    the held-out music that they are distances to is of all sounds.

    Rates (etude.results.rates) have limits of their own. `fails`: a rival is lost to, or a rate is
    above its limit. `holds`: all rivals are beaten and all rates hold. `n/a`: nothing to compare.

    Why that is a test: clips no better than a rival are nearer by chance under the primary
    embedding in 2.5 % of runs, so the gate holds in no more, however many rivals there are, since
    each must be beaten (an intersection-union test; Berger, Technometrics 24, 1982). Of a model that is
    better than all, each rival and embedding fails it in less than 2.5 %.

Functions
    * `judge`: a table's Verdict
    * `overall`: one word for several
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etude.config import Evaluation
from etude.config.concepts import CONTROLS, REAL
from etude.plugins import plugin_label
from etude.results import rates
from etude.results.rates import FAILS, HOLDS, UNDECIDED, Rate, readable
from etude.results.systems import about

if TYPE_CHECKING:
    from etude.results.table import Table

VERSION = 3  # raised when a verdict changes

NOTHING = "n/a"
BEATEN, LOST = "beaten", "lost"
CLIPS, PIECES = "clips", "pieces"  # what intervals are over: generated clips, held-out pieces
LIKELIHOOD = "nats_per_note_less_ngram"  # of perplexity.csv: below 0 where the model is better
NGRAM = "ngram"
MANY = 1_000_000  # more clips than anybody makes

Row = Mapping[str, str]


@dataclass(frozen=True)
class RivalDifference:
    """How much farther from real music the clips are than a rival; `by`: embedding, or metric.

    Of a word: how much less likely held-out music is under it; `by` is the concept.
    """

    by: str
    value: float
    low: float
    high: float
    n: int

    @property
    def needs(self) -> float:
        """The n at which an interval of this value would leave 0 out: its width falls as 1/√n."""
        half = (self.high - self.low) / 2
        return self.n * (half / abs(self.value)) ** 2 if self.value else float("inf")


@dataclass(frozen=True)
class Against:
    """What is known of one rival.

    Attributes:
        by: the differences that decided; of an undecided rival the one that is nearest to it.
        needs: how many of `of` would decide; None where it is decided, or where no number would do.
        why: what is missing.
        of: CLIPS, or PIECES of a control of words.
    """

    rival: str
    word: str
    by: tuple[RivalDifference, ...] = ()
    needs: int | None = None
    why: str = ""
    of: str = CLIPS


@dataclass(frozen=True)
class Verdict:
    """The gate of one set of clips; `why` where there is nothing to compare."""

    word: str
    rivals: tuple[Against, ...] = ()
    rates: tuple[Rate, ...] = ()
    n: int = 0
    why: str = ""

    def against(self, word: str) -> list[str]:
        """The rivals of one word."""
        return [one.rival for one in self.rivals if one.word == word]


def judge(table: Table, settings: Evaluation) -> Verdict:
    """The verdict over one set of clips."""
    system = about(table.system)
    shares = [
        rates.silence(table.rows, settings.gate_silent),
        rates.copies(table.rows, settings.gate_copied),
    ]
    if system.continues:
        prefixes = settings.memorisation.prefixes
        shares.append(rates.extraction(table.rows, settings.gate_extracted, prefixes))
    rows = [r for r in table.rivals if r["embedding"] in set(map(plugin_label, settings.gate_embeddings))]
    # What others made has the rivals that could be made without its model.
    names = system.rivals if system.trained else dict.fromkeys(row["rival"] for row in rows)
    of_rivals = {name: [row for row in rows if row["rival"] == name] for name in names}
    known = [found for name in names for found in _differences(of_rivals[name])]
    n = min((found.n for found in known), default=0)
    against: list[Against] = []
    if known and n < settings.gate_clips:
        why = _too_few(n, settings.gate_clips, shares[0].n)
        against = [Against(name, UNDECIDED, needs=settings.gate_clips, why=why) for name in names]
    elif known:
        primary = settings.deciding[1]
        against = [_against(name, of_rivals[name], table.of_training, primary) for name in names]
    against += _of_words(table.concepts)
    deaf = "; ".join(f"{r['concept']}: {r['note']}" for r in table.concepts if _is_deaf(r))
    words = {one.word for one in against} | {rate.word for rate in shares}
    if {LOST, FAILS} & words:
        return Verdict(FAILS, tuple(against), tuple(shares), n, deaf)
    if not against or (system.rivals and not known):
        return Verdict(NOTHING, rates=tuple(shares), why=_nothing(table, rows, settings))
    word = UNDECIDED if UNDECIDED in words or deaf else HOLDS
    return Verdict(word, tuple(against), tuple(shares), n, deaf)


def _too_few(n: int, needed: int, made: int) -> str:
    """Why n clips decide nothing: fewer were made, or one of those that were has no embedding."""
    if made >= needed:
        return f"{n} of {made} clips could be embedded, the gate needs {needed}"
    return f"needs {needed} clips, there are {n}"


def overall(verdicts: Iterable[Verdict]) -> str:
    """One word: fails if any does, holds if all do."""
    words = {verdict.word for verdict in verdicts}
    if words == {HOLDS}:
        return HOLDS
    return next((word for word in (FAILS, UNDECIDED) if word in words), NOTHING)


def _differences(rows: Iterable[Row]) -> list[RivalDifference]:
    return [_difference(r, r["embedding"], int(r["n"])) for r in rows if r["value"] and r["ci_low"]]


def _likelihood(rows: Iterable[Row]) -> list[RivalDifference]:
    """The model's nats per note less those of the n-gram, where they were measured."""
    return [
        _difference(row, "nats per note", 0)
        for row in rows
        if row["metric"] == LIKELIHOOD and row["clips"] == "generated" and row["ci_low"]
    ]


def _difference(row: Row, by: str, n: int) -> RivalDifference:
    value, low, high = (float(row[key]) for key in ("value", "ci_low", "ci_high"))
    return RivalDifference(by, value, low, high, n)


def _against(
    name: str, rows: Sequence[Row], of_training: Iterable[Row], primary: str
) -> Against:
    found = _differences(rows)
    likelihood = _likelihood(of_training) if name == NGRAM else []
    if lost := [one for one in (*found, *likelihood) if one.low > 0]:
        return Against(name, LOST, tuple(lost))
    if not found:
        why = next((row["note"].removeprefix("n/a: ") for row in rows if row["note"]), "")
        return Against(name, UNDECIDED, why=why or "not measured")
    # Chorales with 40 % wrong notes are nearer than random notes by their timbre, but not by harmony.
    deciding = [one for one in found if one.by == primary] or found
    if beaten := [one for one in deciding if one.high < 0]:
        return Against(name, BEATEN, tuple(beaten))
    nearest = min(deciding, key=lambda one: one.needs)
    needs = readable(nearest.needs) if nearest.needs <= MANY else None
    return Against(name, UNDECIDED, (nearest,), needs)


def _of_words(rows: Iterable[Row]) -> list[Against]:
    """What the words of a training are worth against each way of asking that they must beat."""
    by_control: dict[str, list[Row]] = {}
    for row in rows:
        if row["condition"] in CONTROLS:
            by_control.setdefault(row["condition"], []).append(row)
    return [_of_word(CONTROLS[name], by_control[name]) for name in CONTROLS if name in by_control]


def _of_word(control: str, rows: Sequence[Row]) -> Against:
    known = [_of_concept(row) for row in rows if row["word_ci_low"]]
    if lost := [one for one in known if one.low > 0]:
        return Against(control, LOST, tuple(lost), of=PIECES)
    if missing := [row["concept"] for row in rows if not row["word_ci_low"]]:
        why = f"fewer than two held-out pieces: {', '.join(missing)}"
        return Against(control, UNDECIDED, why=why, of=PIECES)
    if all(one.high < 0 for one in known):
        return Against(control, BEATEN, tuple(known), of=PIECES)
    worst = max((one for one in known if one.high >= 0), key=lambda one: one.needs)
    needs = readable(worst.needs) if worst.needs <= MANY else None
    return Against(control, UNDECIDED, (worst,), needs, of=PIECES)


def _of_concept(row: Row) -> RivalDifference:
    value, low, high = (float(row[key]) for key in ("word_less", "word_ci_low", "word_ci_high"))
    return RivalDifference(row["concept"], value, low, high, int(row["pieces"]))


def _is_deaf(row: Row) -> bool:
    """Whether the codec cannot express the concept, going by real music."""
    return row["condition"] == REAL and bool(row["note"])


def _nothing(table: Table, rows: Sequence[Row], settings: Evaluation) -> str:
    """Why there is no rival to compare with."""
    notes = [row["note"] for row in rows if row["note"]]
    notes += [table.note("generated", plugin_label(name)) for name in settings.gate_embeddings]
    return next((n.removeprefix("n/a: ") for n in notes if n not in ("", "n/a")), "not measured")
