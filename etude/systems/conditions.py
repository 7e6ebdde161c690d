"""What clips are asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etude.errors import UserError


@dataclass(frozen=True)
class Conditions:
    """What clips are asked to be; a player refuses what its system's `conditions` do not have.

    Attributes:
        files: recordings or MIDI files that clips continue, in turn.
        text: what they are to sound like.
        concept: a word that was learned.
        seconds, bars: how much is made after the prime, in place of the settings' own length.
        tokens: how many of a MIDI file's last tokens the model is given; None: as the settings say,
            0: all.
    """

    files: tuple[Path, ...] = ()
    text: str = ""
    concept: str = ""
    seconds: float | None = None
    bars: float | None = None
    tokens: int | None = None


def refuse(conditions: Conditions, allowed: frozenset[str], what: str) -> None:
    """Refuse conditions that mean nothing to a system.

    Args:
        allowed: the `conditions` of its settings class.
        what: the experiment or system, for the message.

    Raises:
        UserError: naming what it does take.
    """
    asked = {
        "text": bool(conditions.text),
        "concept": bool(conditions.concept),
        "recording or midi": bool(conditions.files),
    }
    for name, given in asked.items():
        if given and not allowed.intersection(name.split(" or ")):
            raise UserError(
                f"{what} does not take {name} as a condition",
                code="condition-not-taken",
                why=f"it takes: {', '.join(sorted(allowed)) or 'none, it plays from nothing'}",
                do="leave it out, or choose another experiment",
            )
