"""The search for tunes: how few words of a clip's melody are not a training melody's.

Source
    PhraseLDM's memorisation rate (arXiv 2512.11348): 1 - the least word error rate of a generated
    melody to all training melodies, and the ratio of the least to the second least, by which a
    sample is new where it is above a third: what is as near to two pieces as to one is no copy of
    either (the ratio test of Lowe, IJCV 60, 2004). Three things differ, since clips are of any key
    and length here: a word is a note, not one of its three tokens; it is relative to the note
    before; and the clip's words are looked for in any stretch of a training melody, where the
    original compares whole songs and divides by the training song's length.

Conventions
    The melody is the highest voice (`top_voice`), whatever else sounds. Its words are int64
    [notes - 1]: interval to the note before, and time since then in twelfths of a quarter.

Cost
    The edit distances of a clip of 60 words to 500 training melodies of 300 take 0.1 s. Of a larger
    corpus only the CANDIDATES pieces are compared that share most 4-grams of words with the clip:
    a corpus of a million costs no more, and a copy that shares no four notes in a row with its
    piece is not found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etude.metrics.memorisation.sequences import (
    LONGEST_TIME,
    PER_QUARTER,
    Ids,
    edit_costs,
)
from etude.midi.notes import NoteTable, top_voice

VERSION = 1  # raised when scores change

CANDIDATES = 500  # pieces that a clip is compared with
FEWEST = 8  # words: of fewer every melody has most
GRAM = 4
BLOCK = 64  # pieces of like lengths whose distances are taken at once
NEW = 1 / 3  # PhraseLDM's


@dataclass(frozen=True)
class Tune:
    """What a melody has in common with the training melodies.

    Attributes: similarity (1 - least word error rate), top_two (least over second least rate; 0
    where both are 0, NaN of one piece alone), piece (number of the nearest), at (its word where the
    likest stretch begins, about).
    """

    similarity: float
    top_two: float
    piece: int
    at: int


def melody_words(table: NoteTable) -> Ids:
    """The melody of some notes, a word for each but the first: int64 [notes - 1].

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> at, long = np.arange(3) * 480, np.full(3, 480)
        >>> tune = plain_table(at, long, np.array([60, 62, 64]))
        >>> higher = plain_table(at, long, np.array([65, 67, 69]))
        >>> bool((melody_words(tune) == melody_words(higher)).all())  # intervals: of any key
        True
    """
    voice = top_voice(table)
    interval = np.diff(voice.pitch.astype(np.int64)) + 128
    wait = np.rint(np.diff(voice.onset) * PER_QUARTER / table.ticks_per_quarter).astype(np.int64)
    words: Ids = interval * (LONGEST_TIME + 1) + wait.clip(0, LONGEST_TIME)
    return words


class Melodies:
    """The training melodies."""

    def __init__(self, tables: Sequence[NoteTable]) -> None:
        self.words = [melody_words(table) for table in tables]
        grams = [_grams(words) for words in self.words]
        owner = np.repeat(np.arange(len(grams)), [len(found) for found in grams])
        joined = np.concatenate([*grams, np.zeros(0, np.uint64)])
        order = np.argsort(joined, kind="stable")
        self.grams, self.owner = joined[order], owner[order]

    def candidates(self, words: Ids) -> Ids:
        """The numbers of the pieces that a melody is compared with, in order."""
        count = len(self.words)
        if count <= CANDIDATES:
            return np.arange(count)
        wanted = _grams(words)
        low, high = (np.searchsorted(self.grams, wanted, side) for side in ("left", "right"))
        shared = [self.owner[a:b] for a, b in zip(low, high, strict=True)]
        votes = np.bincount(np.concatenate([*shared, self.owner[:0]]), minlength=count)
        return np.sort(np.argsort(-votes, kind="stable")[:CANDIDATES])

    def search(self, table: NoteTable) -> Tune | None:
        """The nearest training melody of some notes; None where they are too few to tell."""
        words = melody_words(table)
        if len(words) < FEWEST:
            return None
        pieces = self.candidates(words)
        pieces = pieces[np.argsort([len(self.words[i]) for i in pieces], kind="stable")]
        errors = np.concatenate(
            [self._errors(words, pieces[i : i + BLOCK]) for i in range(0, len(pieces), BLOCK)]
            or [np.zeros(0, np.int64)]
        )
        if not len(errors):
            return None
        order = np.lexsort((pieces, errors))
        best = int(pieces[order[0]])
        least = errors[order[:2]] / len(words)
        top_two = float("nan")
        if len(least) > 1:
            top_two = float(least[0] / least[1]) if least[1] else 0.0
        end = int(edit_costs(words, self._padded([best]))[0].argmin())
        return Tune(1 - float(least[0]), top_two, best, max(end - len(words), 0))

    def _errors(self, words: Ids, pieces: Ids) -> NDArray[np.int64]:
        """Words of a melody that no stretch of each piece's has in their place: [pieces]."""
        return edit_costs(words, self._padded(pieces.tolist())).min(1).astype(np.int64)

    def _padded(self, pieces: Sequence[int]) -> Ids:
        """The words of some pieces, [pieces, longest]; what is after them equals nothing."""
        rows = [self.words[i] for i in pieces]
        made = np.full((len(rows), max(map(len, rows))), -1, np.int64)
        for row, words in zip(made, rows, strict=True):
            row[: len(words)] = words
        return made


def _grams(words: Ids) -> NDArray[np.uint64]:
    """Hashes of the 4-grams of words, sorted, each once."""
    if len(words) < GRAM:
        return np.zeros(0, np.uint64)
    mixed = np.zeros(len(words) - GRAM + 1, np.uint64)
    for k in range(GRAM):
        part = words[k : len(words) - GRAM + 1 + k].astype(np.uint64)
        mixed = (mixed ^ part) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)
