"""Whether generated clips are nearer to real music than each rival: the rows of the gate.

A row for each gated embedding and rival set: KAD of the generated clips less KAD of the rival,
both to the same reference, without pairs of one clip or piece; negative where the generated clips
are nearer. The interval (95 %) is `kad_clips.difference`'s. Sets of different sizes can be
compared, since neither figure depends on n in the mean: each row says both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etude.errors import UserError
from etude.metrics.distances import Yardstick
from etude.metrics.kad_clips import Tally, difference
from etude.metrics.samples import FEWEST_FOR_AN_INTERVAL, Clips

VERSION = 2  # raised when the figures change

COLUMNS = [
    "experiment", "system", "train_seed", "draw", "embedding", "rival", "n", "n_rival", "value",
    "ci_low", "ci_high", "note",
]  # fmt: skip


def rival_rows(
    yardstick: Yardstick,
    sets: Mapping[str, Clips],
    notes: Mapping[str, str],
    rivals: Iterable[str],
) -> Iterator[dict[str, Any]]:
    """Cells from `rival` to `note` of each rival; what cannot be compared has `n/a: why`.

    Args:
        notes: why a set has no clips, by set.
    """
    tallies: dict[str, Tally | str] = {}
    for rival in rivals:
        pair = ("generated", rival)
        for name in pair:
            if name not in tallies:
                tallies[name] = _tally(yardstick, sets.get(name), notes.get(name, ""))
        own, other = (tallies[name] for name in pair)
        counts = [sets[name].count if name in sets else 0 for name in pair]
        row = {"rival": rival, "n": counts[0], "n_rival": counts[1]}
        if isinstance(own, str) or isinstance(other, str):
            why = f"generated: {own}" if isinstance(own, str) else other
            yield row | {"note": f"n/a: {why}"}
            continue
        names = ("value", "ci_low", "ci_high")
        try:
            figures = difference(own, other)
        except UserError as error:
            yield row | {"note": f"n/a: {error.what}"}
            continue
        yield row | {key: f"{x:.6f}" for key, x in zip(names, figures, strict=True)}


def _tally(yardstick: Yardstick, clips: Clips | None, note: str) -> Tally | str:
    """A set's sums, or why there is no figure with an interval."""
    if clips is None or not clips.count:
        return note or ("no clips" if clips is not None else "there is no such set")
    try:
        tally = yardstick.tally(clips)
    except UserError as error:
        return error.what
    units = int(tally.groups.max()) + 1
    if units < FEWEST_FOR_AN_INTERVAL:
        return f"{units} clips or pieces, {FEWEST_FOR_AN_INTERVAL} are needed for an interval"
    return tally
