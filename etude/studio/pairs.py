"""Blind pairs of a run's clips: which are asked about, and how they sound.

A pair is of one condition (what both clips were asked to be; where no two systems share one, all
clips count as of none). Both are heard at the same length, rate and loudness, with the same fades,
so that nothing but the music tells them apart. Catch pairs, of real music against the same broken
into grains out of order, have a known answer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from etude.audio.files import AudioFile, write_wav
from etude.errors import UserError
from etude.metrics.loudness import level
from etude.results.preference import BROKEN, REAL
from etude.storage import read_csv

SECONDS = 10.0  # of a clip, at most
LEAST_SECONDS = 0.5
FADE_SECONDS = 0.02
PEAK = 0.98
GRAIN_SECONDS = 0.06
REFERENCE = "reference"  # the set of held-out real music
SAME = ("prompt", "prime", "sections")  # columns of conditions.csv that make a condition


@dataclass(frozen=True)
class Item:
    """A clip that can be asked about."""

    system: str
    clip: str
    condition: str
    path: Path

    @property
    def key(self) -> str:
        """What the store keeps of it."""
        return f"{self.system}/{self.clip}"


@dataclass(frozen=True)
class ClipPair:
    """Two clips, a and b; of a catch pair one is BROKEN."""

    a: Item
    b: Item
    catch: bool = False


class Test:
    """The clips of a run that can be compared.

    Args:
        items: of at least two systems.
    """

    __test__ = False  # for pytest, which takes the name for one of its own

    def __init__(self, items: Sequence[Item]) -> None:
        shared = Counter(c for c, _ in {(item.condition, item.system) for item in items})
        common = {condition for condition, systems in shared.items() if systems > 1}
        self.by_condition = bool(common)
        kept = [item for item in items if not common or item.condition in common]
        self.items = {item.key: item for item in kept}
        self.systems = sorted({item.system for item in kept})

    @classmethod
    def of_run(cls, results: Path) -> Test:
        """That of a run's first clip sets and of its held-out music.

        Raises:
            UserError: there are no clips to compare.
        """
        items: dict[str, Item] = {}
        for folder in sorted((results / "clips").glob("*/")):
            sets = sorted(folder.glob("seed-*/draw-*/"))
            found = [*_items(sets[0], folder.name)] if sets else []
            found += _items(folder / "baselines" / REFERENCE, REAL)
            for item in found:
                items.setdefault(item.key, item)
        test = cls(list(items.values()))
        if len(test.systems) < 2:
            raise UserError(
                "there is nothing to compare by ear",
                where=str(results / "clips"),
                why="no two clip sets, of experiments or of real music, are there",
                do="run the workflow first, or name another run with --results",
            )
        return test

    def draw(self, asked: Iterable[tuple[str, str]], random: Random) -> ClipPair:
        """The next pair: of the two systems that were asked about least, their least used clips.

        Args:
            asked: pairs of keys of all that was asked so far, of all listeners.
        """
        pairs: Counter[frozenset[str]] = Counter()
        used: Counter[str] = Counter()
        for a, b in asked:
            used[a] += 1
            used[b] += 1
            pairs[frozenset((a.rsplit("/", 1)[0], b.rsplit("/", 1)[0]))] += 1
        choices = [
            (pairs[frozenset((x, y))], random.random(), x, y)
            for i, x in enumerate(self.systems)
            for y in self.systems[i + 1 :]
        ]
        for _, _, x, y in sorted(choices):
            if found := self._of(x, y, used, random):
                return found
        raise UserError("no two systems share a condition")

    def _of(self, x: str, y: str, used: Counter[str], random: Random) -> ClipPair | None:
        """A pair of two systems, over one condition; the side is by chance."""
        of = {name: [i for i in self.items.values() if i.system == name] for name in (x, y)}
        conditions = {i.condition for i in of[x]} & {i.condition for i in of[y]}
        if self.by_condition and not conditions:
            return None
        first = min(
            (i for i in of[x] if not self.by_condition or i.condition in conditions),
            key=lambda item: (used[item.key], random.random()),
        )
        second = min(
            (i for i in of[y] if not self.by_condition or i.condition == first.condition),
            key=lambda item: (used[item.key], random.random()),
        )
        sides = (first, second) if random.random() < 0.5 else (second, first)
        return ClipPair(*sides)

    def catch(self, random: Random) -> ClipPair:
        """Real music, or else any clip, and the same broken; the side is by chance."""
        real = [item for item in self.items.values() if item.system == REAL]
        chosen = random.choice(real or list(self.items.values()))
        worse = Item(BROKEN, chosen.clip, chosen.condition, chosen.path)
        sides = (chosen, worse) if random.random() < 0.5 else (worse, chosen)
        return ClipPair(*sides, catch=True)

    def find(self, key: str) -> Item | None:
        """The item of a key that the store has kept; None: it is not here any more."""
        system, _, clip = key.rpartition("/")
        if system == BROKEN:
            real = self.find(f"{REAL}/{clip}") or next(
                (item for item in self.items.values() if item.clip == clip), None
            )
            return Item(BROKEN, clip, real.condition, real.path) if real else None
        return self.items.get(key)


def _items(folder: Path, system: str) -> list[Item]:
    table = folder / "clips.csv"
    if not table.is_file():
        return []
    asked = folder / "conditions.csv"
    conditions = {row["clip"]: row for row in read_csv(asked)} if asked.is_file() else {}
    found = []
    for row in read_csv(table):
        if (folder / row["file"]).is_file():
            of = conditions.get(row["clip"], {})
            condition = " ".join(of.get(name) or "" for name in SAME).strip()
            found.append(Item(system, row["clip"], condition, folder / row["file"]))
    return found


def write_pair(pair: ClipPair, a: Path, b: Path) -> float:
    """Write both sides as they are heard; gives back their seconds.

    Raises:
        UserError: one of them cannot be read, or is too short.
    """
    rate, seconds = 10**9, SECONDS
    for item in (pair.a, pair.b):
        with AudioFile(item.path) as file:
            rate, seconds = min(rate, file.rate), min(seconds, file.seconds)
    if seconds < LEAST_SECONDS:
        raise UserError("a clip is too short to compare", where=pair.a.key)
    waves = [_wave(item, rate, seconds) for item in (pair.a, pair.b)]
    loudest = max(float(np.abs(wave).max(initial=1e-9)) for wave in waves)
    scale = min(1.0, PEAK / loudest)  # of both, so that they stay as loud as each other
    for wave, path in zip(waves, (a, b), strict=True):
        write_wav(path, (wave * scale).astype(np.float32), rate)
    return seconds


def _wave(item: Item, rate: int, seconds: float) -> Any:
    """A clip as it is compared: float [samples]."""
    count = int(seconds * rate)
    with AudioFile(item.path) as file:
        wave = file.read(rate, 0.0, None, mono=True)[:count].astype(np.float64)
    wave = np.pad(wave, (0, count - len(wave)))
    if item.system == BROKEN:
        wave = broken(wave, rate, item.clip)
    wave = level(wave, rate)
    fade = min(round(FADE_SECONDS * rate), count // 2)
    ramp = np.linspace(0, 1, fade)
    wave[:fade] *= ramp
    wave[count - fade :] *= ramp[::-1]
    return wave


def broken(wave: Any, rate: int, name: str) -> Any:
    """A wave cut into grains that are put together in another order, the same for a name."""
    size = max(1, round(GRAIN_SECONDS * rate))
    whole = len(wave) // size
    grains = wave[: whole * size].reshape(whole, size)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    order = np.random.default_rng(seed).permutation(whole)
    return np.concatenate([grains[order].ravel(), wave[whole * size :]])
