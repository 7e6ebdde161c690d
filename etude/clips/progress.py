"""How far a generation is: on the terminal, in a file, and a way to stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tqdm import tqdm

from etude.storage import write_json


class Stopped(Exception):  # noqa: N818  it is no error: somebody asked for it
    """Generation was asked to stop; nothing half-written is left."""


@dataclass(frozen=True)
class GenerationProgress:
    """What a progress callback gets while clips are generated."""

    stage: str
    percent: float
    seconds: float
    eta_seconds: float


Tell = Callable[[GenerationProgress], None]


class ProgressBar:
    """Generation's progress on the terminal."""

    def __init__(self, name: str) -> None:
        form = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"
        self.bar = tqdm(total=100.0, desc=name, bar_format=form, mininterval=0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def __call__(self, event: GenerationProgress) -> None:
        """Show an event."""
        self.bar.set_postfix_str(event.stage, refresh=False)
        self.bar.update(max(event.percent - self.bar.n, 0))


def teller(bar: ProgressBar, path: Path | None) -> Tell:
    """Progress to the terminal and, each whole percent, to a JSON file (atomically)."""
    last = -1

    def tell(event: GenerationProgress) -> None:
        nonlocal last
        bar(event)
        if path is not None and int(event.percent) > last:
            last = int(event.percent)
            values = {
                "stage": event.stage,
                "percent": round(event.percent, 2),
                "seconds": round(event.seconds, 3),
                "eta_seconds": round(event.eta_seconds, 1),
            }
            write_json(path, values)

    return tell


def batches(count: int, size: int) -> Iterator[range]:
    """Ranges of at most `size` clips."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
