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


def silent(_: GenerationProgress) -> None:
    """Progress that nobody watches.

    Example:
        >>> silent(GenerationProgress("clips", 50, 1, 1))
    """


def never() -> bool:
    """Nobody asks to stop.

    Example:
        >>> never()
        False
    """
    return False


def stopping(tell: Tell, should_stop: Callable[[], bool]) -> Tell:
    """Progress that asks, each time something is told, whether to stop.

    Raises:
        Stopped: when it is called and the answer is yes.

    Example:
        >>> tell = stopping(silent, should_stop=lambda: True)
        >>> try:
        ...     tell(GenerationProgress("clips", 50, 1, 1))
        ... except Stopped:
        ...     print("stopped")
        stopped
    """

    def tell_or_stop(event: GenerationProgress) -> None:
        if should_stop():
            raise Stopped
        tell(event)

    return tell_or_stop


def part_of(tell: Tell, part: range, total: int) -> Tell:
    """The progress of these of `total` clips, told as that of all.

    Example:
        >>> seen = []
        >>> tell = part_of(seen.append, range(2, 4), total=4)
        >>> tell(GenerationProgress("drawing", 50.0, 1.0, 0.0))
        >>> seen[0].percent
        75.0
    """

    def tell_share(event: GenerationProgress) -> None:
        done = (part.start + len(part) * event.percent / 100) / total
        rest = event.eta_seconds * (1 + (total - part.stop) / len(part)) if part else 0.0
        tell(GenerationProgress(event.stage, 100 * done, event.seconds, rest))

    return tell_share


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
    """Ranges of at most `size` clips.

    Example:
        >>> list(batches(5, 2))
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
