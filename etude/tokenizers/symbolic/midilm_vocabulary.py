"""The words of MidiLM: `on|off_<pitch>_<delta>`, and notes as a sequence of them.

88 pitches x 23 deltas x on and off, in this order, then [UNK] and [PAD]: 4,050 ids. A delta is the
ticks since the word before, brought to the nearest of the 23.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from etude.midi.cleaning import NoteArrays

LOWEST, HIGHEST = 21, 108
DELTAS = np.array(
    [*range(9), 15, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 960, 1440, 1920], np.int64
)
PITCHES = HIGHEST - LOWEST + 1
OF_PITCH = 2 * len(DELTAS)  # ids of one pitch
UNKNOWN = PITCHES * OF_PITCH
PAD = UNKNOWN + 1
# The nearest delta of every number of ticks up to the largest; halfway goes to the smaller.
_MIDDLES = (DELTAS[1:] + DELTAS[:-1]) // 2
NEAREST = np.searchsorted(_MIDDLES, np.arange(DELTAS[-1] + 1))


@cache
def token_names() -> list[str]:
    """The vocabulary, in the order of ids.

    Example:
        >>> names = token_names()
        >>> len(names), names[0], names[-2:]
        (4050, 'on_21_0', ['[UNK]', '[PAD]'])
    """
    words = [
        f"{kind}_{pitch}_{delta}"
        for pitch in range(LOWEST, HIGHEST + 1)
        for delta in DELTAS.tolist()
        for kind in ("on", "off")
    ]
    return [*words, "[UNK]", "[PAD]"]


@cache
def token_numbers() -> dict[str, int]:
    """Ids by name.

    Example:
        >>> token_numbers()["[PAD]"] == len(token_names()) - 1
        True
    """
    return {name: i for i, name in enumerate(token_names())}


def encode_notes(
    notes: NoteArrays, transpose: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ids of notes, the true delta of each and the nearest one: int64 [2 * notes] each.

    Of one moment the lower pitch comes first, and ends come before beginnings of their pitch.
    """
    pitch = notes.pitch + transpose
    start, end = notes.start, notes.end
    inside = (pitch >= LOWEST) & (pitch <= HIGHEST)
    if not inside.all():
        start, end, pitch = start[inside], end[inside], pitch[inside]
    pitch = 2 * (pitch - LOWEST)
    n = len(pitch)
    # One number to sort by: tick, pitch, off before on.
    key = np.empty(2 * n, np.int64)
    key[:n] = start * 256 + pitch + 1
    key[n:] = end * 256 + pitch
    key.sort()
    tick = key >> 8
    delta = tick.copy()
    delta[1:] -= tick[:-1]
    nearest = NEAREST[np.minimum(delta, DELTAS[-1])]
    ids = (key >> 1 & 127) * OF_PITCH + nearest * 2 + 1 - (key & 1)
    return ids, delta, DELTAS[nearest]
