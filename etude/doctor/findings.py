"""What an examination finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "odd", "broken"]
MARKS: dict[str, str] = {"ok": "ok", "absent": "--", "odd": "??", "broken": "!!"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes: state (`absent`: the configured run does without it; `odd`: it works, and what comes
    of it is doubtful; `broken`: it cannot work),
    do (the command to get it).
    """

    what: str
    state: State
    text: str
    do: str = ""

    def __str__(self) -> str:
        line = f"{MARKS[self.state]}  {self.what:<13} {self.text}"
        return line + (f"\n{'':<18}do: {self.do}" if self.do and self.state != "ok" else "")
