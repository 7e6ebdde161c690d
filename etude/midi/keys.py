"""The key of a piece, found from its notes or read from its key signatures.

Found as REMI-z does (Ou et al., arXiv 2408.15176): pitch classes weighted by duration and
velocity, compared with a profile of each of 24 keys; of equal ones a major key, then the lowest
tonic. The profile `float` has 2 for the tonic, 1.5 for its third and fifth, 1 for the rest of the
scale (natural minor), and -1 for the note that the next key downwards would have in its place: the
flat seventh of a major, the flat second of a minor key. `integer` is what REMI-z's table of whole
numbers makes of it: 1.5 is cut to 1, and nothing is below 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import symusic

from etude.midi.notes import NoteTable, strip_wrapper

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
A = 9  # the pitch class that minor keys are moved to
FIFTH = 7  # semitones


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes: tonic (a pitch class, 0 is C), minor.
    """

    tonic: int
    minor: bool

    @property
    def shift(self) -> int:
        """The semitones from -5 to 6 that bring it to C major or A minor."""
        up = ((A if self.minor else 0) - self.tonic) % 12
        return up - 12 if up > 6 else up


def profiles(kind: str) -> np.ndarray:
    """The profiles of 24 keys, major ones first: float64 [24, 12]; `kind` as in the head."""
    rows = []
    for scale, foreign in ((MAJOR, 10), (MINOR, 1)):
        weights = np.zeros(12)
        weights[list(scale)] = 1.0
        weights[[scale[2], scale[4]]] = 1.5 if kind == "float" else 1.0
        weights[0] = 2.0
        weights[foreign] = -1.0 if kind == "float" else 0.0
        rows += [np.roll(weights, tonic) for tonic in range(12)]
    return np.stack(rows)


def find_key(table: NoteTable, kind: str = "float") -> Key:
    """The key whose profile is nearest to the pitched notes; C major where there are none."""
    pitched = table.without_drums()
    weights = pitched.duration * pitched.velocity.astype(np.float64)
    histogram = np.bincount(pitched.pitch % 12, weights, minlength=12)
    best = int(np.argmax(profiles(kind) @ histogram))
    return Key(best % 12, best >= 12)


def written_key(data: bytes) -> Key | None:
    """The key that a MIDI file's key signatures say for the longest time; None without any.

    Before the first one the first one holds.

    Raises:
        MidiError: of what is no MIDI file; of what `parse_midi` has read never.
    """
    score: Any = symusic.Score.from_midi(strip_wrapper(data))
    signs = sorted((sign.time, sign.key, sign.tonality) for sign in score.key_signatures)
    if not signs:
        return None
    ends = [time for time, *_ in signs[1:]] + [max(score.end(), signs[-1][0] + 1)]
    lasting: dict[tuple[int, int], int] = {}
    for (time, fifths, minor), end in zip(signs, ends, strict=True):
        lasting[fifths, minor] = lasting.get((fifths, minor), 0) + end - time
    fifths, minor = max(lasting, key=lambda sign: (lasting[sign], [-abs(sign[0]), -sign[1]]))
    tonic = fifths * FIFTH + (A if minor else 0)
    return Key(tonic % 12, bool(minor))
