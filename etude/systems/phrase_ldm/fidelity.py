"""How well notes survive: F1 of the notes of phrases, as the original counts them.

Conventions
    A note of a phrase is (onset, pitch) or (onset, pitch, duration); each wanted note is found once
    at the most. F1 = 2 x found / (wanted + written), over all phrases together; 1 where there is
    nothing to find and nothing is written. Ids that make no whole note count for nothing.

Functions
    * `Reader`: the notes of ids
    * `matches`: found, wanted and written notes of pairs of phrases
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ONSET, PITCH, DURATION = "o", "p", "d"  # kinds of ids, as RemiZ.numbers has them
Note = tuple[int, int, int]  # onset in its bar, pitch, duration


@dataclass(frozen=True)
class Counted:
    """Notes that were found, wanted and written."""

    found: int = 0
    wanted: int = 0
    written: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.found + other.found, self.wanted + other.wanted, self.written + other.written
        )

    @property
    def both(self) -> int:
        """What F1 is a mean over: wanted and written notes."""
        return self.wanted + self.written

    @property
    def f1(self) -> float:
        """From 0 to 1."""
        return 2 * self.found / self.both if self.both else 1.0


class Reader:
    """The notes of a phrase's ids.

    Args:
        numbers: (kind, number) of each id of the tokenizer.
    """

    def __init__(self, numbers: Sequence[tuple[str, int]]) -> None:
        self.numbers = list(numbers)

    def notes(self, ids: Iterable[int]) -> list[Note]:
        """(onset, pitch, duration) of each note that is whole."""
        found: list[Note] = []
        onset = pitch = None
        for kind, number in (self.numbers[i] for i in ids):
            if kind == ONSET:
                onset, pitch = number, None
            elif kind == PITCH:
                pitch = number
            elif kind == DURATION and onset is not None and pitch is not None:
                found.append((onset, pitch, number))
                pitch = None
        return found


def matches(
    pairs: Iterable[tuple[Sequence[Note], Sequence[Note]]], *, durations: bool = False
) -> Counted:
    """Wanted and written notes of each phrase, compared."""
    total = Counted()
    for wanted, written in pairs:
        left, right = ([n if durations else n[:2] for n in notes] for notes in (wanted, written))
        found = (Counter(left) & Counter(right)).total()
        total += Counted(found, len(left), len(right))
    return total
