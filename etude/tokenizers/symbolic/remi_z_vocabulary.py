"""The words of REMI-z: which ids there are, what each says, and how a sequence falls into bars.

A piece is a row of bars, a bar a row of tracks, a track in a bar (a *phrase*) a row of notes:

    s-4/4 [u-36] [t-35]                a bar: its time signature, where its upbeat begins, its tempo
    i-0 o-0 p-72 d-12 [v-20] o-12 ...  a track: its instrument, then onsets and what begins there
    b-1                                the end of the bar

After REMI-z (Ou et al., arXiv 2408.15176), with three differences: tracks have one order in all
bars, by the whole piece; tracks of one program may stay apart; and `u`: a short first bar is the
end of a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

import numpy as np

from etude.config import RemiZ
from etude.midi.bars import COMMON
from etude.midi.notes import DRUMS

SPECIALS = ("PAD", "BOS", "EOS", "MASK")
DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)
WHOLES = 2  # whole notes of the longest bar
TEMPOS, SLOWEST, STEPS = 49, 16.0, 12  # quarters a minute from 16 to 256, twelve to an octave
LOUDNESSES, OF_LOUDNESS = 32, 4  # levels, and velocities of a level
SPECIAL, BAR, SIGNATURE, UPBEAT, TEMPO, INSTRUMENT, ONSET, PITCH, DURATION, VELOCITY = range(10)
LETTERS = ("", "b", "s", "u", "t", "i", "o", "p", "d", "v")
SIGNATURES = [
    (n, d) for d in DENOMINATORS for n in range(1, WHOLES * d + 1)
]  # the original's order
NUMBER_OF = {signature: number for number, signature in enumerate(SIGNATURES)}


@dataclass
class Bar:
    """A bar of a piece.

    Attributes: signature (numerator, denominator), positions (that begin in it, at least 1),
    phrases (of each slot the ids of its onsets and notes; an empty slot has none), instruments
    (of each slot a program, 128 for drums), start (the position that it begins with, 0 but for an
    upbeat), tempo (the number of its token; None where it is not stated).
    """

    signature: tuple[int, int]
    positions: int
    phrases: list[list[int]]
    instruments: list[int]
    start: int = 0
    tempo: int | None = None


@dataclass
class OpenBar:
    """A bar as it is read: the slots that it states, in the order in which it does."""

    signature: tuple[int, int]
    tempo: int | None
    start: int = 0
    phrases: list[list[int]] = field(default_factory=list)
    instruments: list[int] = field(default_factory=list)
    begun: bool = False


class Vocabulary:
    """The vocabulary under some settings.

    Attributes: kinds, values (int64 [vocabulary]: one of the kinds above, and the number that
    is in the name; of a signature its place in SIGNATURES), first (kind -> its first id).
    """

    def __init__(self, settings: RemiZ) -> None:
        beat = settings.positions_per_beat
        self.settings, longest = settings, beat * 4 * (WHOLES if settings.time_signatures else 1)
        counts = {
            BAR: (1, 1),
            SIGNATURE: (0, len(SIGNATURES) * settings.time_signatures),
            UPBEAT: (1, longest - 1),
            TEMPO: (0, TEMPOS * settings.tempos),
            INSTRUMENT: (0, DRUMS + settings.drums),
            ONSET: (0, longest),
            PITCH: (0, 128 * (1 + settings.drums)),
            DURATION: (1, settings.longest),
            VELOCITY: (0, LOUDNESSES * settings.velocities),
        }
        kinds, values, self.first = [SPECIAL] * len(SPECIALS), [*range(len(SPECIALS))], {}
        for kind, (low, count) in counts.items():
            self.first[kind] = len(kinds) - low
            kinds += [kind] * count
            values += range(low, low + count)
        self.kinds, self.values = np.array(kinds, np.int64), np.array(values, np.int64)
        self.size = len(kinds)

    def id(self, kind: int, value: int) -> int:
        """The id that says a number of a kind; nothing is checked."""
        return self.first[kind] + value

    def numbers(self) -> list[tuple[str, int]]:
        """Of each id its letter and number: `("o", 36)`; of specials `("", n)`.

        The number of a signature is the original's (`s-9` is 4/4), of a drum's pitch 128 more.
        """
        pairs = zip(self.kinds.tolist(), self.values.tolist(), strict=True)
        return [(LETTERS[kind], value) for kind, value in pairs]

    @cached_property
    def names(self) -> list[str]:
        """`[PAD]`, `b-1`, `s-4/4`, `u-36`, `t-35`, `i-0`, `o-0`, `p-72`, `drum-36`, `d-12`."""
        found = []
        for (letter, value), kind in zip(self.numbers(), self.kinds.tolist(), strict=True):
            if kind == SPECIAL:
                found.append(f"[{SPECIALS[value]}]")
            elif kind == SIGNATURE:
                found.append("s-{}/{}".format(*SIGNATURES[value]))
            elif kind == PITCH and value >= DRUMS:
                found.append(f"drum-{value - DRUMS}")
            else:
                found.append(f"{letter}-{value}")
        return found

    @property
    def of_phrases(self) -> list[int]:
        """The ids that occur inside a phrase: onsets, pitches, durations, velocities."""
        return np.flatnonzero(self.kinds >= ONSET).tolist()

    def positions(self, signature: tuple[int, int]) -> int:
        """How many positions begin in a bar."""
        numerator, denominator = signature
        return ceil(4 * self.settings.positions_per_beat * numerator / denominator)

    def read(self, ids: Iterable[int]) -> list[OpenBar]:
        """The bars of any ids: what makes no sense is passed over, an open bar is closed.

        A bar without a signature or a tempo has the one before's, a note without an instrument
        plays program 0.
        """
        kinds, values = self.kinds.tolist(), self.values.tolist()
        bar, found = OpenBar(COMMON, None), []
        for i in ids:
            kind = kinds[i] if 0 <= i < self.size else SPECIAL
            if kind == SPECIAL:
                continue
            if kind == BAR:
                found.append(bar)
                bar = OpenBar(bar.signature, bar.tempo)
                continue
            bar.begun = True
            if kind == SIGNATURE:
                bar.signature = SIGNATURES[values[i]]
            elif kind == UPBEAT:
                bar.start = 0 if found else values[i]
            elif kind == TEMPO:
                bar.tempo = values[i]
            elif kind == INSTRUMENT or not bar.phrases:
                bar.instruments.append(values[i] if kind == INSTRUMENT else 0)
                bar.phrases.append([] if kind == INSTRUMENT else [i])
            else:
                bar.phrases[-1].append(i)
        return [*found, bar] if bar.begun else found

    def notes(self, ids: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """Position, pitch (128 more of drums), duration and velocity of a phrase's whole notes.

        A note without a pitch, a duration or any onset before it is passed over.
        """
        kinds, values = self.kinds.tolist(), self.values.tolist()
        found: list[tuple[int, int, int, int]] = []
        position = pitch = whole = -1
        for i in ids:
            kind, value = kinds[i], values[i]
            if kind == VELOCITY and whole >= 0:
                found[-1] = (*found[-1][:3], value * OF_LOUDNESS + OF_LOUDNESS // 2)
            whole = -1
            if kind == ONSET:
                position, pitch = value, -1
            elif kind == PITCH:
                pitch = value
            elif kind == DURATION and pitch >= 0 and position >= 0:
                found.append((position, pitch, value, self.settings.velocity))
                pitch, whole = -1, 1
        return found
