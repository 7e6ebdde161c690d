"""Tokens and notes: the longest common run, and the least edit distance, with training sequences.

Conventions
    a sequence is int64 [n], ids of at least 0. Notes become sequences by `note_sequence`: each
    note is its interval to the note before, the time since then and its length in twelfths of a
    quarter, so that transposition and tempo fall out.

Metrics
    * `SuffixIndex.search`: `run`, the longest stretch of a sequence that the training sequences
      have too, as a share of its length; `edit`, 1 - the least edit distance of the whole sequence
      to any stretch of theirs, divided by its length (looked for beside the longest common runs).
      `score` is the mean of both and WEIGHT * log(1 + bits that the sequence says): of two copies
      the one that says more is the rarer chance.

How: a suffix array over all training sequences (prefix doubling: Manber and Myers 1990, to runs of
LONGEST ids), so that a search is a binary search. Two billion ids would fit its int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etude.midi.notes import NoteTable

VERSION = 1  # raised when scores change

Ids = NDArray[np.int64]

LONGEST = 256  # ids that are told apart; a longer common run counts as so long
PLACES = 4  # alignments whose edit distance is computed
PER_QUARTER = 12
LONGEST_TIME = 96  # twelfths of a quarter
WEIGHT = 0.05
MARGIN = 0.15  # of a sequence's length, on either side of an alignment


@dataclass(frozen=True)
class Common:
    """What a sequence has in common with the training sequences; where: sequence and position."""

    run: float
    edit: float
    sequence: int
    position: int
    run_length: int
    bits: float

    @property
    def score(self) -> float:
        """Higher is nearer to the training sequences."""
        return (self.run + self.edit) / 2 + WEIGHT * float(np.log1p(self.bits))


def note_sequence(table: NoteTable) -> Ids:
    """Pitched notes as (interval, wait, length): int64 [notes - 1].

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> at, long = np.arange(3) * 480, np.full(3, 480)
        >>> tune, higher = (plain_table(at, long, np.array([60, 62, 64]) + k) for k in (0, 5))
        >>> bool((note_sequence(tune) == note_sequence(higher)).all())
        True
    """
    notes = table.without_drums()
    if len(notes) < 2:
        return np.zeros(0, np.int64)
    interval = np.diff(notes.pitch.astype(np.int64)) + 128
    wait, length = (
        np.round(ticks * PER_QUARTER / notes.ticks_per_quarter).astype(np.int64)
        for ticks in (np.diff(notes.onset), notes.duration[1:])
    )
    base = LONGEST_TIME + 1
    ids: Ids = (interval * base + wait.clip(0, LONGEST_TIME)) * base + length.clip(0, LONGEST_TIME)
    return ids


class Surprise:
    """How much an id says after the one before it: half a bigram model, half a unigram one."""

    def __init__(self, text: Ids) -> None:
        self.ids, self.counts = np.unique(text, return_counts=True)
        self.size = max(1, len(text))
        pairs = self._pairs(text) if len(text) else text
        self.pairs, self.pair_counts = np.unique(pairs, return_counts=True)

    def bits(self, ids: Ids) -> float:
        """Of the whole sequence, its first id left out: -log2 of its probability."""
        if len(ids) < 2 or not len(self.ids):
            return 0.0
        before = _count(ids[:-1], self.ids, self.counts)
        alone = (_count(ids[1:], self.ids, self.counts) + 0.5) / (self.size + 1)
        both = _count(self._pairs(ids), self.pairs, self.pair_counts)
        probability = 0.5 * alone + 0.5 * both / np.maximum(before, 1)
        return float(-np.log2(probability).sum())

    def _pairs(self, ids: Ids) -> Ids:
        places = np.searchsorted(self.ids, ids).astype(np.int64)
        known = self.ids[places.clip(0, len(self.ids) - 1)] == ids
        places = np.where(known, places, len(self.ids))
        return places[:-1] * (len(self.ids) + 1) + places[1:]


def _count(values: Ids, known: Ids, counts: Ids) -> Ids:
    """How often each value was seen."""
    if not len(known):
        return np.zeros(len(values), np.int64)
    places = np.searchsorted(known, values).clip(0, len(known) - 1)
    found: Ids = np.where(known[places] == values, counts[places], 0)
    return found


class SuffixIndex:
    """All training sequences in one suffix array."""

    def __init__(self, sequences: Sequence[Ids]) -> None:
        # Ids move up by one: 0 stands after each sequence and equals nothing that is looked for.
        parts = [np.append(np.asarray(s, np.int64) + 1, 0) for s in sequences]
        self.text = np.concatenate([*parts, np.zeros(LONGEST, np.int64)])
        self.bounds = np.cumsum([0, *map(len, parts)])
        self.order = _suffixes(self.text[: self.bounds[-1]])
        self.model = Surprise(self.text[: self.bounds[-1]])

    def search(self, sequence: Ids) -> Common:
        """The longest common run and the least edit distance of one sequence."""
        ids = np.asarray(sequence, np.int64) + 1
        if not len(ids) or not len(self.order):
            return Common(0.0, 0.0, -1, -1, 0, 0.0)
        lengths, places = self._longest(ids)
        best = int(lengths.argmax())
        length = min(int(lengths[best]), len(ids))
        where = int(places[best])
        owner = int(np.searchsorted(self.bounds, where, side="right")) - 1
        edit = self._edit(ids, lengths, places)
        at = where - int(self.bounds[owner])
        return Common(length / len(ids), edit, owner, at, length, self.model.bits(ids))

    def _longest(self, ids: Ids) -> tuple[Ids, Ids]:
        """For each position the longest common run that begins there, and where it is."""
        padded = np.concatenate([ids, np.full(LONGEST, -1)])
        wanted = np.lib.stride_tricks.sliding_window_view(padded, LONGEST)[: len(ids)]
        low, high = np.zeros(len(ids), np.int64), np.full(len(ids), len(self.order))
        while (low < high).any():
            middle = (low + high) // 2
            here = self._at(middle)
            differs = wanted != here
            first = differs.argmax(1)
            rows = np.arange(len(ids))
            less = differs.any(1) & (here[rows, first] < wanted[rows, first]) & (low < high)
            low, high = (
                np.where(less, middle + 1, low),
                np.where(less | (low >= high), high, middle),
            )
        lengths, places = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        for near in (low - 1, low):
            inside = near.clip(0, len(self.order) - 1)
            equal = (wanted == self._at(inside)).cumprod(1).sum(1)
            better = equal > lengths
            lengths = np.where(better, equal, lengths)
            places = np.where(better, self.order[inside], places)
        return lengths, places

    def _at(self, ranks: Ids) -> Ids:
        starts = self.order[ranks.clip(0, len(self.order) - 1)]
        window: Ids = self.text[starts[:, None] + np.arange(LONGEST)]
        return window

    def _edit(self, ids: Ids, lengths: Ids, places: Ids) -> float:
        """1 - least edit distance / length, over the alignments that common runs speak for."""
        begins = places - np.arange(len(ids))
        values, which = np.unique(begins // 4, return_inverse=True)
        votes = np.bincount(which, weights=lengths.astype(float) ** 2, minlength=len(values))
        margin = int(MARGIN * len(ids)) + 4
        width = len(ids) + 2 * margin
        starts = 4 * values[np.argsort(-votes, kind="stable")[:PLACES]] - margin
        at = starts[:, None] + np.arange(width)
        inside = (at >= 0) & (at < len(self.text))
        windows = np.where(inside, self.text[at.clip(0, len(self.text) - 1)], 0)
        return 1 - float(edit_distances(ids, windows).min()) / len(ids)


def _suffixes(text: Ids) -> Ids:
    """The order of all suffixes by their first LONGEST ids: int64 [n]."""
    rank = np.unique(text, return_inverse=True)[1].astype(np.int64) + 1
    length = 1
    order = np.argsort(rank, kind="stable")
    while length < LONGEST and len(text):
        behind = np.zeros(len(text), np.int64)
        behind[: max(0, len(text) - length)] = rank[length:]
        key = rank * (len(text) + 2) + behind
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        steps = np.concatenate([[1], (np.diff(ordered) > 0).astype(np.int64)])
        rank = np.empty(len(text), np.int64)
        rank[order] = np.cumsum(steps)
        length *= 2
    return order


def edit_distances(ids: Ids, windows: Ids) -> Ids:
    """The least edit distance of `ids` [n] to any stretch of each window: [m, w] -> [m].

    Example:
        >>> import numpy as np
        >>> windows = np.array([[9, 1, 2, 3, 9], [9, 1, 8, 3, 9]])
        >>> edit_distances(np.array([1, 2, 3]), windows).tolist()  # the second differs in one id
        [0, 1]
    """
    least: Ids = edit_costs(ids, windows).min(1)
    return least


def edit_costs(ids: Ids, windows: Ids) -> NDArray[np.int32]:
    """The same to the best stretch that ends before each place: [m, w] -> int32 [m, w + 1].

    Example:
        >>> import numpy as np
        >>> edit_costs(np.array([1, 2]), np.array([[7, 1, 2]])).tolist()  # found where it ends: 0
        [[2, 2, 1, 0]]
    """
    columns = np.arange(windows.shape[1] + 1, dtype=np.int32)
    cost = np.zeros((len(windows), len(columns)), np.int32)
    for wanted in ids:
        moved = cost + 1  # an id left out
        np.minimum(moved[:, 1:], cost[:, :-1] + (windows != wanted), out=moved[:, 1:])
        # An id put in: the least of all to the left, each a step farther.
        cost = np.minimum.accumulate(moved - columns, axis=1) + columns
    return cost
