"""Whole tune groups are assigned to train, valid and test."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate

from etude.config import Split
from etude.errors import UserError

SIDES = ("train", "valid", "test")
ALSO_CALLED = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
FIRST_NEEDED = ("train", "test", "valid")  # with two groups there is a test, with three all
LARGE = 0.02  # of all pieces: a group above this would make a side too large

Row = dict[str, str]


def user_sides(rows: Sequence[Row]) -> dict[str, str]:
    """The side of each piece for which metadata.csv has a `split`.

    Raises:
        UserError: a value is not train, valid or test, or one of their usual other names.
    """
    sides = {}
    for row in rows:
        if value := row.get("split", "").strip():
            if value.lower() not in ALSO_CALLED:
                raise UserError(
                    f"metadata.csv has a split {value!r}",
                    code="unknown-split",
                    where=f"the row of {row['path']}",
                    why=f"a split is one of {', '.join(ALSO_CALLED)}, or empty",
                    do="fix the column `split`, or leave it out",
                )
            sides[row["piece"]] = ALSO_CALLED[value.lower()]
    return sides


def assign_groups(
    settings: Split,
    groups: Mapping[str, Sequence[Row]],
    wishes: Mapping[str, str],
    warnings: list[str],
) -> dict[str, str]:
    """The side of every group, near the shares that are wanted; the same for the same seed.

    Groups form a row, in an order that the seed decides and that no other group changes, and the
    row is cut at the shares: one more piece moves few others. Large groups come first, for
    training. The user's own sides take precedence. Where they put one tune on two sides, the
    whole group goes to the side that most of its pieces name (in a tie to test, then to valid):
    a metric against pieces that were trained on would be worthless, and stopping would not help
    a user who got the split from somebody else. A warning says so.

    Args:
        settings: shares and seed.
        groups: the rows of each group, by its name.
        wishes: sides by piece.
        warnings: a list that is added to.
    """
    if settings.mode == "none":
        return dict.fromkeys(groups, "train")
    sides = _wished(groups, wishes, warnings)
    sizes = {group: len(rows) for group, rows in groups.items()}
    free = [group for group in groups if group not in sides]
    large = LARGE * sum(sizes.values())
    free.sort(key=lambda group: (sizes[group] <= max(1, large), _draw(settings, group)))
    shares = {side: getattr(settings, side) for side in SIDES}
    usable = [side for side in FIRST_NEEDED if shares[side]]
    if not sides:
        usable = usable[: len(free)]
    counts = Counter(dict.fromkeys(SIDES, 0))
    for group, side in sides.items():
        counts[side] += sizes[group]
    total = sum(sizes.values()) / (sum(shares[side] for side in usable) or 1)
    room = [max(0.0, total * shares[s] - counts[s]) if s in usable else 0.0 for s in SIDES]
    sides |= _cut(free, sizes, room)
    _fill_empty(usable, free, sides, sizes)
    return sides


def _cut(row: Sequence[str], sizes: Mapping[str, int], room: Sequence[float]) -> dict[str, str]:
    """The side of each group of a row: by where its middle lies between the bounds."""
    bounds = list(accumulate(room))
    scale = bounds[-1] / max(1, sum(sizes[group] for group in row))
    ends = accumulate(sizes[group] for group in row)
    middles = (scale * (end - sizes[group] / 2) for group, end in zip(row, ends, strict=True))
    return {g: SIDES[bisect_right(bounds[:-1], m)] for g, m in zip(row, middles, strict=True)}


def _wished(
    groups: Mapping[str, Sequence[Row]], wishes: Mapping[str, str], warnings: list[str]
) -> dict[str, str]:
    """The sides of groups for which the user has named any."""
    sides, torn, moved = {}, [], 0
    for group, rows in groups.items():
        votes = Counter(wishes[row["piece"]] for row in rows if row["piece"] in wishes)
        if votes:
            side = max(votes, key=lambda s: (votes[s], ("train", "valid", "test").index(s)))
            sides[group] = side
            if len(votes) > 1:
                torn.append(group)
                moved += votes.total() - votes[side]
    if torn:
        few = ", ".join(torn[:3]) + (" …" if len(torn) > 3 else "")
        warnings.append(
            f"metadata.csv puts {len(torn)} tunes on two sides of the split ({few}); so that "
            f"nothing crosses, {moved} pieces went with the most of their tune. If they are not "
            "the same tune, say so in its column `tune`, or raise split.similarity"
        )
    return sides


def _draw(settings: Split, group: str) -> str:
    """An order that depends on the seed, and for each group on nothing but its name."""
    return hashlib.sha256(f"{settings.seed}:{group}".encode()).hexdigest()


def _fill_empty(
    usable: Sequence[str], free: Sequence[str], sides: dict[str, str], sizes: Mapping[str, int]
) -> None:
    """No side stays empty while another has two groups: it gets the smallest of these."""
    for side in usable:
        held = Counter(sides.values())
        givers = [group for group in free if held[sides[group]] > 1]
        if not held[side] and givers:
            sides[min(givers, key=lambda g: (sizes[g], sides[g] != "train", g))] = side
