"""An n-gram model with interpolated, modified Kneser-Ney smoothing: the baseline of token models.

Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999), 3.4 and
equation 26 on: three discounts per order, from counts of counts; lower orders count in how many
contexts a gram was seen (continuation counts), the lowest is mixed with a uniform distribution.

Grams are nodes of a trie: the gram of length k that ends at a position is (node of the gram of
length k - 1 that ends one position earlier, token). Each order is one sorted array of such keys, so
that fitting is a sort and looking up a binary search, for all positions at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etude.errors import UserError

VERSION = 1  # raised when probabilities or samples change

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Order:
    """One order of the model.

    Attributes: keys (sorted, int64 [grams]: node of the context x (vocabulary + 1) + token), mass
    (float64 [grams], count less discount), total and rest (float64 [contexts]: sum of the counts,
    and of the discounts, which goes to the order below).
    """

    keys: Ids
    mass: Floats
    total: Floats
    rest: Floats

    def find(self, keys: Ids) -> Ids:
        """The node of each key, int64 [n]; -1 where it was never seen."""
        node = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[node] == keys, node, -1)


LEAST = 0.05  # of a count that goes to what was not seen: no token may be impossible


def discounts(counts: Ids) -> Floats:
    """What is taken off counts of 0, 1, 2, and 3 or more: float64 [4].

    Where the counts of counts do not suffice for an estimate (a tiny corpus), it is half a count.
    """
    n = np.bincount(counts, minlength=5)[1:5].astype(np.float64)
    if (n == 0).any():
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n[0] / (n[0] + 2 * n[1])
    found = np.array([k - (k + 1) * y * n[k] / n[k - 1] for k in (1, 2, 3)])
    # Of grams that are counted twice more often than once nothing would be left for what is unseen.
    return np.append(0.0, found.clip(LEAST, [1.0, 2.0, 3.0]))


class NGram:
    """Interpolated modified Kneser-Ney of order `order` over tokens 0 .. vocabulary - 1.

    Sequences are independent; before each stand order - 1 marks of a beginning.
    """

    def __init__(self, vocabulary: int, order: int = 5) -> None:
        self.vocabulary, self.order = vocabulary, order
        self.width = vocabulary + 1  # the last id marks a beginning
        self.orders: list[Order] = []

    def fit(self, sequences: Iterable[Sequence[int]]) -> NGram:
        """Count the grams of all sequences.

        Raises:
            UserError: there are no tokens, or one is outside the vocabulary.
        """
        self.orders = []
        tokens, real = self._padded(sequences)
        if not real.any():
            raise UserError(
                "an n-gram model needs at least one token",
                code="no-tokens",
                why="no tokens to count",
            )
        levels, nodes = self._trie(tokens)
        counts = np.bincount(nodes[-1][real], minlength=len(levels[-1]))
        for k in range(self.order, 0, -1):
            self.orders.insert(0, self._order(levels, k, counts))
            if k > 1:  # each different gram of this order is one context of the gram below
                seen, first = np.unique(nodes[k - 1][real], return_index=True)
                below = nodes[k - 2][real][first]
                assert len(seen) == len(below)
                counts = np.bincount(below, minlength=len(levels[k - 2]))
        return self

    def _padded(self, sequences: Iterable[Sequence[int]]) -> tuple[Ids, NDArray[np.bool_]]:
        """All sequences with their marks in one array, and which positions are real tokens."""
        start = np.full(self.order - 1, self.vocabulary, dtype=np.int64)
        parts: list[Ids] = [np.zeros(0, dtype=np.int64)]
        for sequence in sequences:
            parts += [start, np.asarray(sequence, dtype=np.int64)]
        own = np.concatenate(parts[::2])
        if own.size and (own.min() < 0 or own.max() >= self.vocabulary):
            raise UserError(
                "a token is outside the vocabulary of the n-gram model",
                code="token-out-of-range",
                why=f"tokens {own.min()} to {own.max()}, vocabulary {self.vocabulary}",
            )
        tokens = np.concatenate(parts)
        return tokens, tokens != self.vocabulary

    def _trie(self, tokens: Ids) -> tuple[list[Ids], list[Ids]]:
        """Keys of each order, and per order the node at each position (0 before there is one)."""
        levels: list[Ids] = []
        nodes: list[Ids] = []
        context = np.zeros_like(tokens)
        for _ in range(self.order):
            keys, node = np.unique(context * self.width + tokens, return_inverse=True)
            levels.append(keys)
            nodes.append(node.astype(np.int64))
            context = np.concatenate([[0], node[:-1]])
        return levels, nodes

    def _order(self, levels: list[Ids], k: int, counts: Ids) -> Order:
        keys = levels[k - 1]
        off = discounts(counts)[counts.clip(max=3)]
        contexts = len(levels[k - 2]) if k > 1 else 1
        context = keys // self.width
        total = np.bincount(context, weights=counts, minlength=contexts).astype(np.float64)
        rest = np.bincount(context, weights=off, minlength=contexts).astype(np.float64)
        return Order(keys, counts - off, total, rest)

    def probabilities(self, sequence: Sequence[int]) -> Floats:
        """The probability of each token of a sequence after those before it, float64 [n]."""
        tokens, real = self._padded([sequence])
        nodes = np.zeros_like(tokens)
        found = np.full(len(tokens), 1.0 / self.vocabulary)
        for order in self.orders:
            # The context is the gram of the order below that ends one position earlier.
            context = np.concatenate([[0], nodes[:-1]]) if order is not self.orders[0] else nodes
            nodes = np.where(context >= 0, order.find(context * self.width + tokens), -1)
            total, rest = self._of_context(order, context)
            mass = np.where(nodes >= 0, order.mass[nodes], 0.0)
            found = np.where(
                total > 0, (mass + rest * found) / np.where(total > 0, total, 1), found
            )
        return found[real]

    def distribution(self, contexts: Ids) -> Floats:
        """The distribution of the next token, float64 [n, vocabulary].

        Args:
            contexts: the last order - 1 tokens of each sequence, int64 [n, order - 1]; the id
                `vocabulary` stands before a beginning.
        """
        n, longest = contexts.shape
        found = np.full((n, self.vocabulary), 1.0 / self.vocabulary)
        for k, order in enumerate(self.orders):
            node = np.zeros(n, dtype=np.int64)
            for depth in range(k):
                token = contexts[:, longest - k + depth]
                key = node * self.width + token
                node = np.where(node >= 0, self.orders[depth].find(key), -1)
            self._mix(found, order, node)
        return found

    def _mix(self, found: Floats, order: Order, node: Ids) -> None:
        """Lay the order's counts over the distributions of the order below, in place."""
        total, rest = self._of_context(order, node)
        known = np.flatnonzero(total > 0)
        found[known] *= (rest[known] / total[known])[:, None]
        low = np.searchsorted(order.keys, node[known] * self.width)
        high = np.searchsorted(order.keys, (node[known] + 1) * self.width)
        sizes = high - low
        row = np.repeat(known, sizes)
        offsets = np.repeat(np.cumsum(sizes) - sizes, sizes)
        index = np.arange(sizes.sum()) - offsets + np.repeat(low, sizes)
        token = order.keys[index] % self.width
        real = token < self.vocabulary
        np.add.at(found, (row[real], token[real]), (order.mass[index] / total[row])[real])

    @staticmethod
    def _of_context(order: Order, node: Ids) -> tuple[Floats, Floats]:
        known = node >= 0
        return np.where(known, order.total[node], 0.0), np.where(known, order.rest[node], 0.0)

    def log_probability(self, sequences: Iterable[Sequence[int]]) -> Floats:
        """Sum of the natural logarithms over the tokens of each sequence, float64 [sequences]."""
        return np.array([np.log(self.probabilities(sequence)).sum() for sequence in sequences])

    def perplexity(self, sequences: Iterable[Sequence[int]]) -> float:
        """Exp of the mean cross-entropy per token over all sequences."""
        kept = [sequence for sequence in sequences if len(sequence)]
        tokens = sum(map(len, kept))
        return float(np.exp(-self.log_probability(kept).sum() / tokens)) if tokens else float("nan")

    def sample(
        self,
        count: int,
        length: int,
        seed: int,
        *,
        begin: Sequence[int] = (),
        end: int | None = None,
    ) -> list[list[int]]:
        """Sequences of `length` tokens, each from a random stream of its own.

        Args:
            begin: tokens that every sequence begins with; they count.
            end: the token after which a sequence stops (it is kept).
        """
        streams = np.stack(
            [np.random.default_rng([seed, i]).random(length) for i in range(count)]
        ) if count else np.zeros((0, length))  # fmt: skip
        start = np.full((count, self.order - 1), self.vocabulary, dtype=np.int64)
        first = np.tile(np.asarray(begin, dtype=np.int64), (count, 1))[:, :length]
        made = np.concatenate([start, first], 1)
        running = np.ones(count, dtype=bool)
        for step in range(first.shape[1], length):
            if not running.any():
                break
            cumulative = self.distribution(made[:, made.shape[1] - self.order + 1 :]).cumsum(1)
            drawn = streams[:, step, None] * cumulative[:, -1:]
            token = (cumulative <= drawn).sum(1).clip(max=self.vocabulary - 1)
            made = np.concatenate([made, token[:, None]], 1)
            running &= token != (-1 if end is None else end)
        return [_until(row, end) for row in made[:, self.order - 1 :].tolist()]


def _until(tokens: list[int], end: int | None) -> list[int]:
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
