"""What learned words are worth: a table of concepts by rows per word, and each one's controls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from etude.config.concepts import CONTROLS, LEARNED
from etude.report.figures import Row, in_order, rows_of
from etude.results.leaderboard import number

FIGURES = ("distance", "primary", "recognised", "neighbours", "originality", "copied", "clap")
IN_CAPTIONS = "0"  # rows of a word that a base learned from captions

Word = tuple[str, str]  # experiment, rows per word


@dataclass(frozen=True)
class WordCell:
    """What a word is worth over the trainings of its experiment.

    Attributes:
        value: nats per token less than without text, the mean over trainings.
        low, high: the interval over pieces of one training; the range of several.
        distance: Fréchet distance of clips, the mean; None where there is none.
        beaten: whether every interval against every control ends below 0, in each training.
        trainings: how many.
    """

    value: float
    low: float | None
    high: float | None
    distance: float | None
    beaten: bool
    trainings: int


@dataclass(frozen=True)
class WordTable:
    """The table over experiments, of new words alone, and the rows of each experiment."""

    concepts: list[str]
    grid: list[tuple[Word, list[WordCell | None]]]
    rows: dict[str, list[Row]]  # by experiment, with `seed`
    shown: list[str]  # those of FIGURES that were measured
    primary: str  # the name of the run's primary metric


def read_words(tables: Iterable[Path]) -> WordTable | None:
    """Read metrics/{experiment}/seed-{seed}/concept.csv; None where no word was learned."""
    rows: dict[str, list[Row]] = {}
    for path in in_order(tables):
        seed = path.parent.name.removeprefix("seed-")
        rows.setdefault(path.parents[1].name, []).extend(r | {"seed": seed} for r in rows_of(path))
    rows = {name: found for name, found in rows.items() if found}
    if not rows:
        return None
    every = [row for found in rows.values() for row in found]
    new = [row for row in every if row["tokens"] != IN_CAPTIONS]
    concepts = list(dict.fromkeys(row["concept"] for row in new))
    words = {
        (name, row["tokens"]): found
        for name, found in rows.items()
        for row in found
        if row["tokens"] != IN_CAPTIONS
    }
    order = sorted(words, key=lambda word: (number(word[1]) or 0, word[0]))
    grid = [
        (word, [_cell(words[word], word[1], concept) for concept in concepts]) for word in order
    ]
    shown = [name for name in FIGURES if any(row.get(name) for row in every)]
    primary = next((row["primary_metric"] for row in every if row["primary_metric"]), "")
    return WordTable(concepts, grid, rows, shown, primary)


def _cell(rows: list[Row], tokens: str, concept: str) -> WordCell | None:
    """The learned word of a concept, over the trainings."""
    of = [row for row in rows if (row["concept"], row["tokens"]) == (concept, tokens)]
    learned = [row for row in of if row["condition"] == LEARNED]
    values = [value for row in learned if (value := number(row["against_null"])) is not None]
    if not values:
        return None
    if len(values) == 1:
        low, high = number(learned[0]["ci_low"]), number(learned[0]["ci_high"])
    else:
        low, high = min(values), max(values)
    distances = [value for row in learned if (value := number(row["distance"])) is not None]
    against = [row for row in of if row["condition"] in CONTROLS]
    ends = [number(row["word_ci_high"]) for row in against]
    beaten = bool(ends) and all(end is not None and end < 0 for end in ends)
    distance = mean(distances) if distances else None
    return WordCell(mean(values), low, high, distance, beaten, len(values))
