"""How well notes survive: F1 of the notes of phrases, as the original counts them.

Conventions
    A note of a phrase is (onset, pitch) or (onset, pitch, duration); each wanted note is found once
    at most. F1 = 2 x found / (wanted + written), over all phrases together; 1 where there is
    nothing to find and nothing is written. Ids that make no whole note count for nothing.

Functions
    * `matches`: found, wanted and written notes of pairs of phrases
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Notes = Sequence[tuple[int, ...]]  # onset in the bar, pitch, duration, and what else there is


@dataclass(frozen=True)
class Counted:
    """Notes that were found, wanted and written."""

    found: int = 0
    wanted: int = 0
    written: int = 0

    @property
    def both(self) -> int:
        """What F1 is a mean over: wanted and written notes."""
        return self.wanted + self.written

    @property
    def f1(self) -> float:
        """From 0 to 1."""
        return 2 * self.found / self.both if self.both else 1.0


def matches(pairs: Iterable[tuple[Notes, Notes]], *, durations: bool = False) -> Counted:
    """The wanted notes of each phrase and those that were written, compared."""
    found = wanted = written = 0
    size = 3 if durations else 2
    for left, right in pairs:
        each = [Counter(note[:size] for note in notes) for notes in (left, right)]
        found += (each[0] & each[1]).total()
        wanted += len(left)
        written += len(right)
    return Counted(found, wanted, written)
