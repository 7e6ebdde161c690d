"""The page's summary, for readers who know no metric: where each model is between chance and music.

On the primary metric real, held-out music is 0 and random notes in the corpus's keys are 1; what a
model made lies at (its distance - real music's) / (chance's distance - real music's). The interval
is the distance's own; those of real music and of chance are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from etude.report.figures import Row
from etude.results.leaderboard import FLOOR, GENERATED, number
from etude.results.rates import FAILS, HOLDS, UNDECIDED
from etude.results.systems import about

CHANCE = "random_notes"
CODEC = "reconstruction"
LEFT, RIGHT = 12.0, 84.0  # per cent of the figure's width at which music and chance are drawn
VERDICTS = {
    HOLDS: "clearly better than every trivial baseline that it is judged against; the search for "
    "copies raised no alarm",
    FAILS: "not good enough: no better than a trivial baseline, or silent, or copied",
    UNDECIDED: "not decided yet: this takes more clips",
    "ungated": "made by somebody else: measured, not judged",
    "missing": "not measured",
}
OF_ITS_OWN = "its clips are of its own concepts, not of all the music"
TOO_LITTLE = "not decided: there are too few clips, or too little held-out music"


@dataclass(frozen=True)
class FigureRow:
    """One experiment in the figure; places are per cent of its width.

    Attributes:
        share: 0 is real music, 1 is chance; None where it cannot be said, and why not in `note`.
        codec: the place of real music that went through the model's own tokens, if measured.
    """

    experiment: str
    verdict: str
    word: str
    share: float | None = None
    low: float | None = None
    high: float | None = None
    at: float = 0.0
    reach: tuple[float, float] | None = None
    codec: float | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """The share and its interval in words."""
        if self.share is None:
            return self.note
        between = "" if self.low is None else f" ({_percent(self.low)} to {_percent(self.high)})"
        return f"{_percent(self.share)}{between}"


def read_places(
    rows: Sequence[Row], words: Iterable[tuple[str, str]], primary: tuple[str, str], least: int
) -> list[FigureRow]:
    """All experiments of a run in the order of its configuration.

    Args:
        rows: of leaderboard.csv, or of the experiments' own tables.
        words: experiments and what the gate says of each.
        primary: metric and embedding that were named before the run.
        least: with fewer clips than this, nothing is shown.
    """
    return [_place(name, word, rows, primary, least) for name, word in words]


def _place(
    name: str, word: str, rows: Sequence[Row], primary: tuple[str, str], least: int
) -> FigureRow:
    verdict = VERDICTS.get(word, TOO_LITTLE)
    known = {
        row["clips"]: row
        for row in reversed(rows)  # of several draws the first counts
        if row.get("experiment") == name
        and (row.get("metric"), row.get("embedding")) == primary
        and number(row.get("value")) is not None
    }
    if not {GENERATED, FLOOR, CHANCE} <= known.keys():
        return FigureRow(name, verdict, word, note="not measured")
    made = known[GENERATED]
    if made.get("system") and not about(made["system"]).rivals:
        return FigureRow(name, verdict, word, note=OF_ITS_OWN)
    if (number(made.get("n")) or 0) < least:
        return FigureRow(
            name, verdict, word, note=f"too few clips: {made.get('n')}, {least} are needed"
        )
    music, chance = (number(known[clips]["value"]) or 0.0 for clips in (FLOOR, CHANCE))
    if chance <= music:
        return FigureRow(name, verdict, word, note="the metric hears no difference to chance")

    def share(cell: str | None) -> float | None:
        value = number(cell)
        return None if value is None else (value - music) / (chance - music)

    low, high = share(made.get("ci_low")), share(made.get("ci_high"))
    low, high = (low, high) if low is not None and high is not None else (None, None)
    own = share(made["value"]) or 0.0
    codec = share(known[CODEC]["value"]) if CODEC in known else None
    return FigureRow(
        experiment=name,
        verdict=verdict,
        word=word,
        share=own,
        low=low,
        high=high,
        at=_at(own),
        reach=None if low is None or high is None else (_at(low), _at(high)),
        codec=None if codec is None else _at(codec),
    )


def _at(share: float) -> float:
    """A place in the figure, kept inside it."""
    return round(min(max(LEFT + (RIGHT - LEFT) * share, 1.0), 99.0), 2)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{max(100 * share, 0):.0f} %"
