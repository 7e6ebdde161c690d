"""Prefix extraction: what a model goes on with when it hears how a training item begins.

Conventions
    items are int64 [n, length], token sequences of one length; `continue_tokens(prefixes, count)`
    gives the model's greedy continuation [n, count] of prefixes [n, p]. Any model that has such a
    function can be asked, audio or symbolic.

Metrics
    * `extract`: for each prefix length the share of items that are continued exactly, and with at
      least 80 % of the tokens in place, with exact binomial intervals. Held-out items are the
      control: what is common in the music is continued rightly without having been memorised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.metrics.memorisation.null import exact_interval

VERSION = 1  # raised when figures change

Ids = NDArray[np.int64]
Continue = Callable[[Ids, int], Ids]

NEARLY = 0.8
COLUMNS = ["items", "prefix", "continued", "metric", "value", "ci_low", "ci_high", "n", "note"]


def extract(
    sets: dict[str, Ids], lengths: Sequence[int], count: int, continue_tokens: Continue
) -> Iterator[dict[str, Any]]:
    """Rows for each set of items (`train`, `held_out`) and prefix length.

    Args:
        count: tokens that the model continues with.
    """
    for name, items in sets.items():
        for length in lengths:
            row = {"items": name, "prefix": length, "continued": count, "n": len(items)}
            if not len(items):
                yield row | {"metric": "exact", "note": f"n/a: there are no {name} items"}
                continue
            if items.shape[1] < length + count:
                why = f"items have {items.shape[1]} tokens, {length + count} are needed"
                yield row | {"metric": "exact", "note": f"n/a: {why}"}
                continue
            made = continue_tokens(items[:, :length], count)
            right = (made == items[:, length : length + count]).mean(1)
            for metric, least in (("exact", 1.0), ("nearly", NEARLY)):
                found = int((right >= least).sum())
                low, high = exact_interval(found, len(items))
                figures = {"value": f"{found / len(items):.6f}", "ci_low": f"{low:.6f}"}
                yield row | {"metric": metric, **figures, "ci_high": f"{high:.6f}"}
