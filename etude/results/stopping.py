"""Where to stop a training, in words that say no more than over_steps.csv shows.

A distance falls between two steps where the interval of their difference is below 0. Copies rise, or
are more than chance, where Fisher's exact test says so (one-sided; of a few copies among some dozens
of clips an interval's lower bound is wrong two to three times as often as it should be). Both hold
for all comparisons of one experiment together: 5 %, Bonferroni. What is not shown is not denied:
each sentence about no fall or no rise says how large a one the clips would have let pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from scipy.stats import hypergeom

from etude.results.leaderboard import number
from etude.results.rates import excess, percent

ERROR = 0.05  # of all comparisons of copies together
LARGE = 0.5  # a fall of this part of what is left to held-out music's own distance is no detail
SELECTION = {
    "valid": "Distances are to the validation split, so a step that is chosen by them makes no "
    "figure of the leaderboard better than it is: that measures with the test split.",
    "test": "There is no validation split: distances are to the test split, so the leaderboard's "
    "figure of a step that is chosen here is better than it would be with other music.",
}
ALWAYS = (
    "These are one training and one draw of clips; another random seed may end elsewhere. Where the "
    "learning rate falls towards the end, an earlier step is not what a training that is planned to "
    "end there would be: that one would have come nearer."
)

Row = Mapping[str, str]
Pair = tuple[int, int]  # numbers of an earlier and a later checkpoint


@dataclass(frozen=True)
class Measured:
    """A figure with its 95 % interval, of n clips; without one `note` has the reason."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""

    @property
    def count(self) -> int:
        """Of a share: how many."""
        return round((self.value or 0.0) * self.n)


@dataclass(frozen=True)
class Checkpoint:
    """Some steps of a training.

    Attributes: key (as in the table), stages (those that vary), steps (of each).
    """

    key: str
    stages: tuple[str, ...]
    steps: tuple[int, ...]
    distance: Measured
    copied: Measured

    @property
    def label(self) -> str:
        """`90`, or the step of each stage: `32/60/45`."""
        return "/".join(f"{step:,}" for step in self.steps)

    @property
    def name(self) -> str:
        """The same as a sentence has it."""
        return f"step{'s' * (len(self.steps) > 1)} {self.label}"


@dataclass(frozen=True)
class OverSteps:
    """The checkpoints of an experiment, in the order of their steps.

    Attributes:
        floor: the distance of held-out music; chance: the share of it that the search flags.
        differences: of distances, the later less the earlier, by pair.
    """

    experiment: str
    embedding: str = ""
    split: str = ""
    checkpoints: list[Checkpoint] = field(default_factory=list)
    floor: Measured = Measured()
    chance: Measured = Measured()
    differences: dict[Pair, Measured] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The number of the end of the training."""
        return len(self.checkpoints) - 1

    @property
    def search(self) -> str:
        """The search for copies, by its name."""
        return self.chance.note.removeprefix("by ")


def read_over_steps(rows: Iterable[Row]) -> OverSteps | None:
    """What over_steps.csv of an experiment says; None where it is empty."""
    rows = list(rows)
    cells = {(row["clips"], row["metric"], row["against"]): row for row in rows}
    keys = list(dict.fromkeys(row["clips"] for row in rows if row["steps"]))
    if not keys:
        return None
    one = cells[keys[-1], "kad", ""]

    def at(clips: str, metric: str, against: str = "") -> Measured:
        return _measured(cells.get((clips, metric, against), {}))

    pairs = {
        (i, j): at(keys[j], "kad_difference", keys[i]) for i, j in combinations(range(len(keys)), 2)
    }
    return OverSteps(
        experiment=one["experiment"],
        embedding=one["embedding"],
        split=one["split"],
        checkpoints=[
            Checkpoint(key, *_steps(cells[key, "kad", ""]["steps"]), at(key, "kad"), copied)
            for key in keys
            for copied in [at(key, "copied")]
        ],
        floor=at("real", "kad"),
        chance=at("real", "copied_by_chance"),
        differences={pair: found for pair, found in pairs.items() if found.value is not None},
    )


def _steps(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    parts = [part.rpartition(" ") for part in text.split(", ")]
    return tuple(stage for stage, _, _ in parts), tuple(int(step) for _, _, step in parts)


def _measured(row: Row) -> Measured:
    value, low, high = (number(row.get(key)) for key in ("value", "ci_low", "ci_high"))
    note = row.get("note", "").removeprefix("n/a: ")
    return Measured(value, low, high, int(row.get("n") or 0), note)


# ---------------------------------------------------------------------------------- comparisons


@dataclass(frozen=True)
class Shown:
    """What the intervals show.

    Attributes:
        falls, rises: pairs between which the distance does so.
        enough: the first checkpoint from which no later one is nearer; None: nothing is known.
        open: the largest fall of the distance after it that is not excluded.
        counted: whether copies could be counted.
        above: checkpoints with more copies than chance; more: pairs between which copies rise.
        unseen: the largest share beyond chance that some checkpoint does not exclude (95 %).
    """

    falls: list[Pair]
    rises: list[Pair]
    enough: int | None
    open: float = 0.0
    counted: bool = False
    above: list[int] = field(default_factory=list)
    more: list[Pair] = field(default_factory=list)
    unseen: float = 0.0


def shown(found: OverSteps) -> Shown:
    """All comparisons of an experiment's checkpoints."""
    pairs = list(combinations(range(len(found.checkpoints)), 2))
    known = found.differences
    falls = [pair for pair, d in known.items() if d.high is not None and d.high < 0]
    rises = [pair for pair, d in known.items() if d.low is not None and d.low > 0]
    whole = bool(pairs) and set(pairs) == set(known)
    unbeaten = [i for i in range(found.last + 1) if not any(pair[0] == i for pair in falls)]
    copied, chance = [one.copied for one in found.checkpoints], found.chance
    counted = chance.n > 0 and all(c.value is not None and c.n for c in copied)
    enough, comparisons = unbeaten[0] if whole else None, len(copied) + len(pairs)
    after = [-(d.low or 0.0) for (i, _), d in known.items() if i == enough]
    open_ = max(after, default=0.0)
    if not counted:
        return Shown(falls, rises, enough, open_)
    return Shown(
        falls,
        rises,
        enough,
        open_,
        counted=True,
        above=[i for i, c in enumerate(copied) if _more(c, chance, comparisons)],
        more=[(i, j) for i, j in pairs if _more(copied[j], copied[i], comparisons)],
        unseen=max(excess(c.count, c.n, chance.count, chance.n)[1] for c in copied),
    )


def _more(one: Measured, other: Measured, comparisons: int) -> bool:
    """Whether a share is shown to be larger than another, as one of some comparisons.

    Fisher's exact test is the upper tail of a hypergeometric distribution.
    """
    both, all_clips = one.count + other.count, one.n + other.n
    return bool(hypergeom.sf(one.count - 1, all_clips, both, one.n) < ERROR / comparisons)


# ---------------------------------------------------------------------------------------- words


def advice(found: OverSteps) -> str:
    """Where to stop, in a sentence."""
    seen, names = shown(found), [one.name for one in found.checkpoints]
    if seen.enough is None:
        return "Where to stop cannot be said: not every step has a distance."
    at = seen.enough
    if at == found.last:
        if seen.above or seen.more:
            return (
                f"No step is best in both: at the end, {names[at]}, clips are nearest, and copies "
                "are more than they need be (below)."
            )
        return f"Do not stop before the end, {names[at]}: the distance still falls there."
    new = [i for i in seen.above if i > at and at not in seen.above]
    if costs := new or [j for i, j in seen.more if i >= at]:
        return (
            f"Stop at {names[at]}, at least before {names[min(costs)]}: later clips are no nearer "
            "by more than the intervals, and more of them are copies."
        )
    if (at, found.last) in seen.rises:  # one that is farther halfway may be an accident
        return f"Stop at {names[at]}: at the end, {names[found.last]}, clips are farther again."
    if not seen.falls:
        return (
            "Where to stop cannot be told with these clips: no step is nearer than another by more "
            "than the intervals."
        )
    left = (found.checkpoints[at].distance.value or 0.0) - (found.floor.value or 0.0)
    if seen.open > LARGE * left and at == 0:
        return f"Where to stop cannot be told with these clips: after {names[at]} some may be nearer."
    if seen.open > LARGE * left:
        return (
            f"Clips come nearer until {names[at]}; whether they do after it cannot be told with "
            "these clips."
        )
    copies = "copies were not counted"
    if seen.counted:
        copies = "more clips than chance are copies there already"
        copies = copies if at in seen.above else "nor are more of them copies by more than these"
    return (
        f"{names[at].capitalize()} may be enough: later clips are no nearer by more than the "
        f"intervals, {copies}."
    )


def evidence(found: OverSteps) -> list[str]:
    """What the figures show of distance and copies, each with what they leave open."""
    return [_of_distance(found, shown(found)), _of_copies(found, shown(found))]


def _of_distance(found: OverSteps, seen: Shown) -> str:
    points = found.checkpoints
    if seen.enough is None:
        why = next((p.distance.note for p in points if p.distance.value is None), "no interval")
        return f"The distance could not be compared: {why}."
    at = seen.enough
    if at == found.last:
        i = found.last - 1
        return (
            f"The distance still falls from {points[i].name} to {points[at].name}, by "
            f"{_between(found.differences[i, at])}."
        )
    beginning = (
        f"After {points[at].name} no fall of the distance is shown"
        if seen.falls
        else "Between these steps no fall of the distance is shown"
    )
    again = [j for i, j in seen.rises if i == at]
    rise = (
        f"; to {points[again[-1]].name} it rises by "
        f"{_between(found.differences[at, again[-1]], rising=True)}"
        if again
        else ""
    )
    left = f"; a fall of up to {seen.open:.2g} is not excluded" if seen.open > 0 else ""
    return f"{beginning}{left}{rise}."


def _between(difference: Measured, *, rising: bool = False) -> str:
    """The size of a fall or rise, with its interval."""
    sign = 1 if rising else -1
    ends = sorted(sign * (x or 0.0) for x in (difference.low, difference.high))
    return f"{sign * (difference.value or 0.0):.2g} ({ends[0]:.2g} to {ends[1]:.2g})"


def _of_copies(found: OverSteps, seen: Shown) -> str:
    points, chance = found.checkpoints, found.chance
    if not seen.counted:
        why = next((p.copied.note for p in points if p.copied.value is None), "no chance rate")
        return f"Copies could not be counted: {why}."
    usual = f"chance gives {percent(chance.value or 0.0)}"
    parts = []
    if seen.above:
        said = [f"{points[i].name} ({percent(points[i].copied.value or 0.0)})" for i in seen.above]
        parts.append(f"More clips than chance are copies at {', '.join(said)}; {usual}")
    if seen.more:
        i, j = max(
            seen.more, key=lambda p: (points[p[1]].copied.value or 0) - (points[p[0]].copied.value or 0)
        )
        shares = [percent(points[k].copied.value or 0.0) for k in (i, j)]
        parts.append(
            f"Copies rise from {points[i].name} ({shares[0]}) to {points[j].name} ({shares[1]})"
        )
    if not parts:
        parts.append(
            "At no step are more clips copies than chance gives, by more than the intervals "
            f"({usual}); {100 * seen.unseen:.1f} percentage points more are not excluded"
        )
    return ". ".join(parts) + "."
