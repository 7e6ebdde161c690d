"""Which pieces share a tune: as the user says, otherwise by containment of n-gram sets.

It is found without comparing all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def tune_groups(
    tunes: Sequence[np.ndarray], similarity: float, names: Sequence[str] = ()
) -> np.ndarray:
    """Join the pieces whose n-gram sets contain each other's to `similarity`, transitively.

    Containment is |A and B| / min(|A|, |B|); a set without n-grams is alone. The result is exact.
    Pieces are found by an inverted index, from the smaller set A to the sets that are not
    smaller. A repeated note or a scale is in a third of all music, and identifies no tune: of
    the n = ceil(s |A|) n-grams that A must share, the search leaves out the n / 2 that are
    commonest; whichever holds enough of A holds n / 2 of the others. Only for those few the common
    ones are counted too (prefix filtering: Chaudhuri et al. 2006, Bayardo et al. 2007).

    Args:
        tunes: for each piece its n-gram hashes, each once: uint32 [n].
        similarity: from above 0 to 1.
        names: the user's name for the tune of each piece, or empty. Pieces of one name are one
            group, and two of different names are not joined for being similar. A piece without a
            name joins all that it is similar to: it must not be on another side than its tune,
            and so it may join two names.

    Returns:
        int64 [pieces]: for each piece the lowest index in its group.
    """
    index = _NgramIndex(tunes)
    forest = _Forest(len(tunes))
    named: dict[str, int] = {}
    numbers = [named.setdefault(name, len(named)) if name else -1 for name in names]
    tune = np.array(numbers or [-1] * len(tunes), np.int64)
    first: dict[int, int] = {}
    for piece in range(len(tunes)):
        similar = index.similar(piece, similarity)
        if tune[piece] >= 0:
            similar = similar[(tune[similar] == tune[piece]) | (tune[similar] < 0)]
            forest.join(piece, np.array([first.setdefault(int(tune[piece]), piece)]))
        forest.join(piece, similar)
    return forest.labels()


class _NgramIndex:
    """Which pieces hold an n-gram. N-grams of one piece only are not kept: they join nothing."""

    def __init__(self, tunes: Sequence[np.ndarray]) -> None:
        self.sizes = np.array([len(tune) for tune in tunes], dtype=np.int64)
        # One sorted word per occurrence: hash above, piece below.
        words = np.empty(int(self.sizes.sum()), dtype=np.uint64)
        at = 0
        for piece, tune in enumerate(tunes):
            words[at : at + len(tune)] = tune.astype(np.uint64) << np.uint64(32) | np.uint64(piece)
            at += len(tune)
        words.sort()
        hashes = (words >> np.uint64(32)).astype(np.uint32)
        shared = np.zeros(len(words), dtype=bool)
        same = hashes[1:] == hashes[:-1]
        shared[1:] |= same
        shared[:-1] |= same
        hashes = hashes[shared]
        self.pieces = words[shared].astype(np.uint32).astype(np.int32)  # the lower half
        del words
        new = np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]
        self.starts = np.append(np.flatnonzero(new), len(hashes))
        self.counts = np.diff(self.starts)
        # The n-grams of each piece, as places in `starts`, one piece after the other.
        order = np.argsort(self.pieces, kind="stable")
        self.grams = (np.cumsum(new) - 1)[order].astype(np.int32)
        self.bounds = np.searchsorted(self.pieces[order], np.arange(len(tunes) + 1))

    def grams_of(self, piece: int) -> np.ndarray:
        """The shared n-grams of a piece."""
        return self.grams[self.bounds[piece] : self.bounds[piece + 1]]

    def similar(self, piece: int, similarity: float) -> np.ndarray:
        """The pieces, not smaller, that hold enough of this piece's n-grams."""
        size, grams = int(self.sizes[piece]), self.grams_of(piece)
        # The small amount is for sets of which the share is a whole number (0.3 of 10 is 3).
        needed = max(1, math.ceil(similarity * size - 1e-9))
        if len(grams) < needed:
            return np.zeros(0, dtype=np.int64)
        grams = grams[np.argsort(self.counts[grams], kind="stable")]
        searched = len(grams) - needed // 2
        found = [self.pieces[self.starts[g] : self.starts[g + 1]] for g in grams[:searched]]
        others, counts = np.unique(np.concatenate(found), return_counts=True)
        enough = counts >= needed - needed // 2
        maybe = enough & (self.sizes[others] >= size) & (others != piece)
        others, counts = others[maybe], counts[maybe]
        for i in np.flatnonzero(counts < needed):
            counts[i] += np.isin(grams[searched:], self.grams_of(others[i])).sum()
        return others[counts >= needed]


class _Forest:
    """Groups that grow as pairs come."""

    def __init__(self, size: int) -> None:
        self.parent = list(range(size))

    def root(self, node: int) -> int:
        """The lowest member, with the path to it shortened."""
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, node: int, others: np.ndarray) -> None:
        """Put a node and others into one group."""
        for other in others.tolist():
            a, b = self.root(node), self.root(other)
            if a != b:
                self.parent[max(a, b)] = min(a, b)

    def labels(self) -> np.ndarray:
        """The lowest member of each node's group."""
        return np.array([self.root(node) for node in range(len(self.parent))], dtype=np.int64)
