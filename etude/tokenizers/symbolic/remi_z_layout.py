"""From a note table to the grid of REMI-z: in which bar, slot and position each note is."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np

from etude.config import RemiZ
from etude.midi import bars
from etude.midi.notes import DRUMS, NoteTable
from etude.tokenizers.symbolic.remi_z_vocabulary import (
    DENOMINATORS,
    NUMBER_OF,
    SIGNATURES,
    WHOLES,
)

FINE = 16  # parts of a tick: the shortest bar, 1/64, is a sixteenth of a quarter note
MOST_BARS = 20_000  # a note in a later bar is left out: it would be silence for hours


@dataclass
class GridLayout:
    """Notes on the grid.

    Attributes: bar, slot, position, pitch (128 more of drums), duration, velocity (int64
    [notes]), signature (int64 [bars]: its place in SIGNATURES), ticks (int64 [bars]: where in the
    table a bar begins), start (the position that the first bar begins with), instruments (of each
    slot a program), lost (notes that are left out, by reason), rounded (notes whose onset or
    duration is not that of the table), clamped (notes that are cut to the longest duration).
    """

    bar: np.ndarray
    slot: np.ndarray
    position: np.ndarray
    pitch: np.ndarray
    duration: np.ndarray
    velocity: np.ndarray
    signature: np.ndarray
    ticks: np.ndarray
    start: int
    instruments: list[int]
    lost: dict[str, int]
    rounded: int
    clamped: int


def ticks_per_quarter(settings: RemiZ) -> int:
    """Ticks of decoded music: positions and the bar lines of all signatures are whole ones."""
    return lcm(settings.positions_per_beat, FINE)


def bar_ticks(signature: np.ndarray, settings: RemiZ) -> np.ndarray:
    """The length of bars in ticks of decoded music; `signature` as in SIGNATURES."""
    numerator, denominator = np.array(SIGNATURES, np.int64)[signature].T
    return 4 * ticks_per_quarter(settings) * numerator // denominator


def lay_out(table: NoteTable, settings: RemiZ) -> GridLayout:
    """Each note in its bar; what has no place is counted in `lost`."""
    pitched = table if settings.drums else table.without_drums()
    signature, begin, close = _bar_lines(pitched, settings)
    near = pitched.at(pitched.onset * FINE < close)
    slot, instruments, chosen = _slots(near, settings)
    lost = {
        "no_word": len(table) - len(pitched),
        "out_of_range": len(pitched) - len(near),
        "slots": len(near) - int(chosen.sum()),
    }
    notes, slot = near.at(chosen), slot[chosen]
    # To the nearest position; from the last half of one on that is the next bar's first.
    beat, unit = settings.positions_per_beat, FINE * table.ticks_per_quarter
    bar = np.searchsorted(begin, notes.onset * FINE, side="right") - 1
    lengths = bar_ticks(signature, settings)
    tick = ticks_per_quarter(settings) // beat
    position = _nearest((notes.onset * FINE - begin[bar]) * beat, unit)
    bar += position * tick >= lengths[bar]
    position = np.maximum(_nearest((notes.onset * FINE - begin[bar]) * beat, unit), 0)
    end = _nearest(((notes.onset + notes.duration) * FINE - begin[bar]) * beat, unit)
    whole = np.maximum(end - position, 1)
    start = _nearest(-begin[:1] * beat, unit).clip(0, (lengths[:1] - 1) // tick)
    stated = np.cumsum(lengths) - lengths - start * tick
    exact = _same(stated[bar] + position * tick, notes.onset, table, settings)
    exact &= _same(whole * tick, notes.duration, table, settings)
    count = int(bar.max(initial=-1)) + 1
    return GridLayout(
        bar,
        slot,
        position,
        notes.pitch.astype(np.int64) + 128 * (notes.program == DRUMS),
        whole.clip(max=settings.longest),
        notes.velocity.astype(np.int64),
        signature[:count],
        begin[:count] // FINE,
        int(start[0]),
        instruments,
        lost,
        int((~exact).sum()),
        int((whole > settings.longest).sum()),
    )


def _nearest(count: np.ndarray, unit: int) -> np.ndarray:
    """count / unit, rounded half up, in whole numbers."""
    return (2 * count + unit) // (2 * unit)


def _same(ours: np.ndarray, theirs: np.ndarray, table: NoteTable, settings: RemiZ) -> np.ndarray:
    """Which times in decoded ticks are exactly those in the table's ticks."""
    return ours * table.ticks_per_quarter == theirs * ticks_per_quarter(settings)


def _bar_lines(table: NoteTable, settings: RemiZ) -> tuple[np.ndarray, np.ndarray, int]:
    """Signatures and beginnings of bars up to one after the last onset, and where they end.

    Beginnings are in 1/FINE of a tick, that of an upbeat's bar before 0. A bar that the next
    signature cuts short has one of its own length.
    """
    quarter = table.ticks_per_quarter
    signs = table.signatures
    if not settings.time_signatures:
        signs = bars.with_upbeat(table.upbeat % (4 * quarter), quarter)
    signs = bars.whole_bars(signs, quarter)
    last = int(table.onset.max(initial=0))
    signs = signs[signs[:, 0] <= last]
    signature, begin, room = [], [], MOST_BARS
    for row, (tick, *sign) in enumerate(signs.tolist()):
        number = _spoken(*sign)
        length = 64 * quarter * SIGNATURES[number][0] // SIGNATURES[number][1]
        at = tick * FINE
        at += max(-at // length, 0) * length  # of an upbeat's bar only the part that is there
        final = row + 1 == len(signs)
        until = last * FINE + length + 1 if final else int(signs[row + 1, 0]) * FINE
        found = at + length * np.arange(min(-((at - until) // length), room), dtype=np.int64)
        numbers = np.full(len(found), number)
        close = int(found[-1]) + length if len(found) else at
        if not final and len(found) and close > until:
            short = until - int(found[-1])
            numbers[-1], close = _spoken(*bars.signature(short, quarter * FINE)), until
        signature.append(numbers)
        begin.append(found)
        room -= len(found)
        if not room:
            break
    return np.concatenate(signature), np.concatenate(begin), close


def _spoken(numerator: int, denominator: int) -> int:
    """The place in SIGNATURES of what says a signature: of long bars a part, by a divisor."""
    if denominator not in DENOMINATORS:
        numerator, denominator = max(1, round(numerator * 64 / denominator)), 64
    most = WHOLES * denominator
    parts = [n for n in range(min(numerator, most), 0, -1) if numerator % n == 0]
    return NUMBER_OF[parts[0], denominator]


def _slots(table: NoteTable, settings: RemiZ) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Of each note its slot (and whether it has one), of each slot its program."""
    track = table.track.astype(np.int64) if settings.tracks == "track" else 0
    keys, voice, counts = np.unique(
        track * (DRUMS + 1) + table.program, return_inverse=True, return_counts=True
    )
    programs = keys % (DRUMS + 1)
    order = in_order(voice, table.pitch, programs, settings)
    most = sorted(order, key=lambda v: -counts[v])[: settings.slots]
    kept = [v for v in order if v in most]
    place = np.full(len(keys), -1)
    place[kept] = np.arange(len(kept))
    slot = place[voice]
    return slot, programs[kept].tolist(), slot >= 0


def in_order(
    voice: np.ndarray, pitch: np.ndarray, programs: np.ndarray, settings: RemiZ
) -> list[int]:
    """The voices in the order of slots; of equal ones the first stays first."""
    count = np.bincount(voice, minlength=len(programs)).clip(1)
    mean = np.bincount(voice, pitch, minlength=len(programs)) / count
    if settings.order == "file":
        mean[:] = 0
    return np.lexsort((-mean, programs == DRUMS)).tolist()
