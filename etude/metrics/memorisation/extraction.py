"""Prefix extraction: what a model goes on with when it is given how a training item begins.

Conventions
    items are token sequences, int64 [length], each of its own length; `continue_tokens(prefixes,
    count)` gives the model's greedy continuation [n, count] of prefixes [n, p]. Any model that has
    such a function can be asked, audio or symbolic.

Metrics
    * `extract`: for each prefix length the share of items that are continued exactly, and with at
      least 80 % of the tokens in place, with exact binomial intervals. Held-out items are the
      control: what is common in the music is continued rightly without having been memorised.
      An item that goes on with its last given token alone (a chord that is held) asks nothing, and
      is left out: whoever repeats that token continues it exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.config import Memorisation
from etude.metrics.memorisation.null import exact_interval
from etude.storage import write_csv
from etude.systems import open_system
from etude.systems.base import Parts

VERSION = 3  # raised when figures change

Ids = NDArray[np.int64]
Continue = Callable[[Ids, int], Ids]

NEARLY = 0.8
COLUMNS = ["items", "prefix", "continued", "metric", "value", "ci_low", "ci_high", "n", "note"]


def extract(
    sets: Mapping[str, Sequence[Ids]],
    lengths: Sequence[int],
    count: int,
    continue_tokens: Continue,
    most: int | None = None,
    what: str = "items",
) -> Iterator[dict[str, Any]]:
    """Rows for each set of items (`train`, `held_out`) and prefix length.

    Args:
        count: tokens that the model continues with.
        most: items of a set at each length: the first that are long enough.
        what: what items are called.

    Example:
        >>> import numpy as np
        >>> piece = np.tile([1, 2, 3], 4)
        >>> again = lambda prefixes, count: prefixes  # a model that repeats what it was given
        >>> rows = extract({"train": [piece]}, [3], 3, again)
        >>> [(row["metric"], row["value"]) for row in rows]  # this piece does just that
        [('exact', '1.000000'), ('nearly', '1.000000')]
    """
    for name, items in sets.items():
        for length in lengths:
            need = length + count
            whole = [item[:need] for item in items if len(item) >= need]
            long = [item for item in whole if (item[length:] != item[length - 1]).any()][:most]
            row = {"items": name, "prefix": length, "continued": count, "n": len(long)}
            if not long:
                why = f"there are no {name} items"
                if whole:
                    why = f"all {name} items only hold their last token"
                elif len(items):
                    why = f"{what} have {max(map(len, items))} tokens at most, {need} are needed"
                yield row | {"metric": "exact", "note": f"n/a: {why}"}
                continue
            given = np.stack(long)
            made = continue_tokens(given[:, :length], count)
            right = (made == given[:, length:]).mean(1)
            for metric, least in (("exact", 1.0), ("nearly", NEARLY)):
                found = int((right >= least).sum())
                low, high = exact_interval(found, len(long))
                figures = {"value": f"{found / len(long):.6f}", "ci_low": f"{low:.6f}"}
                yield row | {"metric": metric, **figures, "ci_high": f"{high:.6f}"}


def write_extraction(
    system: str, parts: Parts, settings: Memorisation, seed: int, output: Path
) -> None:
    """Ask a trained model to go on with beginnings of its training items; write the rows.

    Args:
        system: its name in the configuration.
        parts: the packed token set, and the folder of the stage that is asked.
    """
    row = {"items": "train", "metric": "exact"}
    if not settings.prefixes:
        write_csv(output, COLUMNS, [row | {"note": "n/a: not asked for (prefixes: 0)"}])
        return
    loaded = open_system(system)
    asked = loaded.continuation(parts, settings, seed)
    if asked.note:
        write_csv(output, COLUMNS, [row | {"note": asked.note}])
        return
    most, what = settings.prefixes, loaded.items
    rows = list(extract(asked.items, asked.lengths, asked.more, asked.go_on, most, what))
    if asked.by_length:  # a stable sort: within a length the sets keep their order
        rows.sort(key=lambda row: asked.lengths.index(row["prefix"]))
    write_csv(output, COLUMNS, rows)
