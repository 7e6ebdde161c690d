"""How well a language model foresees held-out music, beside a Kneser-Ney 5-gram of the same data.

Metrics
    perplexity                exp of the mean nats of a token, of this vocabulary only
    nats_per_note             nats of all tokens over the number of notes that they say
    nats_per_note_less_ngram  the model's less the n-gram's; below 0 the model is the better

Conventions
    Perplexity is exp of the mean cross-entropy per token, of the packed test split as it is (no
    transposition). Windows overlap: a token is scored once, in the first window that has it, and
    the first token of a piece not at all (a network has nothing to foresee it from). Perplexities
    of different tokenizers cannot be compared.

    All tokens that are scored belong to the stream and count, whatever they say (bars, positions,
    ends); a note counts where it begins among them, so that one whose tokens are in two windows
    counts once, and neither a note's tokens in the overlap nor the token before the first scored
    one counts twice or for nothing. So nats per note can be compared between tokenizers, as far as
    they say the same of a note: without velocities, or in a coarser time, less is to be foreseen.
    Model and n-gram are asked of the same tokens, so their difference is free even of that.

    Intervals per note are 95 % by the jackknife over pieces with Student's t (pieces - 1 degrees of
    freedom), of the ratio of sums (Efron and Stein, Ann. Stat. 9, 1981): both sides leave out the
    same piece. n is the number of notes, of the difference that of pieces.

Rows
    generated  the trained model
    ngram      an interpolated modified Kneser-Ney model of order 5 of the training split, with the
               same transpositions, its overlapping windows joined (twice-counted grams would
               spoil its discounts)
    shuffled   what is left of it when the training tokens are in random order: their frequencies
               (order 1; more would only learn chance)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from etude.config import TrainedExperiment
from etude.metrics.tidy import COLUMNS, REPLICATE_COLUMNS, head
from etude.storage import read_json, write_csv
from etude.systems import open_system
from etude.systems.base import Parts
from etude.systems.ngram import NGram

VERSION = 2  # raised when the figures change

Ids = NDArray[np.int64]
Array = NDArray[np.float64]
Windows = list[tuple[str, Ids, int]]  # piece, ids, first token that is scored
Nats = Callable[[Windows], list[Array]]
Notes = Callable[[Sequence[int]], int]  # how many notes begin in some ids
Row = dict[str, Any]

ORDER = 5
LEAST_SHARED = 8


def overlap(before: Ids, after: Ids) -> int:
    """How many tokens at the beginning of a window are the end of the one before.

    Fewer than 8 are chance: windows that do not overlap.

    Example:
        >>> import numpy as np
        >>> ids = np.arange(20)
        >>> overlap(ids[:12], ids[4:]), overlap(ids[:10], ids[10:])
        (8, 0)
    """
    longest = min(len(before), len(after))
    for start in np.flatnonzero(before[len(before) - longest :] == after[0]) if longest else ():
        size = longest - int(start)
        if size >= LEAST_SHARED and np.array_equal(before[len(before) - size :], after[:size]):
            return size
    return 0


def windows_of(dataset: Any) -> Iterator[tuple[str, list[Ids]]]:
    """(piece, its windows in order) of each piece and transposition of a packed split."""
    groups: dict[tuple[str, int], list[tuple[int, int]]] = {}
    columns = (dataset["piece"], dataset["transpose"], dataset["window"])
    for index, (piece, transpose, window) in enumerate(zip(*columns, strict=True)):
        groups.setdefault((piece, transpose), []).append((window, index))
    for (piece, _), members in groups.items():
        yield piece, [np.array(dataset[i]["input_ids"], dtype=np.int64) for _, i in sorted(members)]


def joined(windows: Sequence[Ids]) -> list[Ids]:
    """A piece's windows without what they share; apart where they share nothing (a gap).

    Example:
        >>> import numpy as np
        >>> ids = np.arange(20)
        >>> [part.tolist() == ids.tolist() for part in joined([ids[:12], ids[4:]])]
        [True]
    """
    parts: list[list[Ids]] = []
    for before, window in zip([None, *windows], windows, strict=False):
        shared = overlap(before, window) if before is not None else 0
        if parts and shared:
            parts[-1].append(window[shared:])
        else:
            parts.append([window])
    return [np.concatenate(part) for part in parts]


def held_out(dataset: Any, most: int) -> Windows:
    """(piece, window, first token that is scored in it) of a split, whole pieces first to last."""
    found: Windows = []
    for piece, windows in windows_of(dataset):
        for before, window in zip([None, *windows], windows, strict=False):
            shared = overlap(before, window) if before is not None else 0
            if len(window) > max(shared, 1):
                found.append((piece, window, max(shared, 1)))
    return found[:most]


def ngram_of(training: list[Ids], vocabulary: int, order: int = ORDER) -> NGram:
    """The n-gram model of a training split.

    Example:
        >>> import numpy as np
        >>> model = ngram_of([np.array([0, 1, 0, 1, 0, 1])], vocabulary=2, order=2)
        >>> after_one = model.probabilities([1, 0])[1]
        >>> bool(after_one > 0.5)
        True
    """
    return NGram(vocabulary, order).fit([part.tolist() for part in training])


def ngram_nats(model: NGram, windows: Windows) -> list[Array]:
    """Minus log probability of each scored token, per window.

    Example:
        >>> import numpy as np
        >>> model = ngram_of([np.array([0, 1, 0, 1, 0, 1])], vocabulary=2, order=2)
        >>> nats = ngram_nats(model, [("piece", np.array([0, 1, 1]), 1)])[0]
        >>> bool(nats[0] < nats[1])  # 1 after 0 was learned, 1 after 1 was not
        True
    """
    return [-np.log(model.probabilities(ids.tolist()))[first:] for _, ids, first in windows]


def summarise(nats: list[Array], pieces: list[str], replicates: int) -> tuple[Row, list[float]]:
    """Perplexity with its 95 % interval over pieces, and its bootstrap replicates.

    Example:
        >>> import numpy as np
        >>> row, drawn = summarise([np.full(10, np.log(4.0))], ["piece"], replicates=0)
        >>> row  # as unsure as one of four, each time
        {'value': '4.000000', 'n': 10}
    """
    names = sorted(set(pieces))
    place = np.array([names.index(piece) for piece in pieces])
    sums = np.bincount(place, weights=[n.sum() for n in nats], minlength=len(names))
    counts = np.bincount(place, weights=[len(n) for n in nats], minlength=len(names))
    row: Row = {"value": f"{math.exp(sums.sum() / counts.sum()):.6f}"}
    row["n"] = int(counts.sum())
    drawn: list[float] = []
    if len(names) > 1:
        for r in range(replicates):
            chosen = np.random.default_rng([r, 0]).integers(0, len(names), len(names))
            drawn.append(math.exp(sums[chosen].sum() / counts[chosen].sum()))
        low, high = np.percentile(drawn, [2.5, 97.5])
        row |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
    return row, drawn


def notes_in(windows: Windows, count: Notes) -> Array:
    """How many notes begin among the scored tokens of each window: float64 [windows].

    What stands before them in the window is their context: a tokenizer that counts the notes it can
    decode finishes a note there that the window before only began, and counted not.

    Example:
        >>> import numpy as np
        >>> windows = [("piece", np.array([5, 1, 5, 1]), 2)]
        >>> notes_in(windows, lambda ids: ids.count(1)).tolist()
        [1.0]
    """
    begun = [count(ids.tolist()) - count(ids[:first].tolist()) for _, ids, first in windows]
    return np.array(begun, np.float64)


class PerNote:
    """Nats per note over pieces.

    Args:
        notes: that begin in each window [windows].
        pieces: the piece of each window.
    """

    def __init__(self, notes: Array, pieces: list[str]) -> None:
        self.names, self.place = np.unique(pieces, return_inverse=True)
        self.notes: Array = self._by_piece(notes)

    def _by_piece(self, values: Array) -> Array:
        sums = np.bincount(self.place, weights=values, minlength=len(self.names))
        return sums.astype(np.float64)

    def sums(self, nats: list[Array]) -> Array:
        """Nats of each piece: float64 [pieces]."""
        return self._by_piece(np.array([n.sum() for n in nats]))

    def row(self, sums: Array) -> Row:
        """Value and, of two pieces or more, the jackknife's interval."""
        total, notes, count = sums.sum(), self.notes.sum(), len(sums)
        value, rest = total / notes, notes - self.notes
        row: Row = {"value": f"{value:.6f}"}
        if count > 1 and (rest > 0).all():
            without = (total - sums) / rest
            spread = math.sqrt((count - 1) / count * np.square(without - without.mean()).sum())
            half = float(stdtrit(count - 1, 0.975)) * spread
            row |= {"ci_low": f"{value - half:.6f}", "ci_high": f"{value + half:.6f}"}
        return row

    def replicates(self, sums: Array, count: int) -> list[float]:
        """The value of this many draws of pieces, the same draws as perplexity's."""
        if len(sums) < 2:
            return []
        chosen = [
            np.random.default_rng([r, 0]).integers(0, len(sums), len(sums)) for r in range(count)
        ]
        return [sums[c].sum() / max(self.notes[c].sum(), 1) for c in chosen]


def per_note(
    nats: dict[str, list[Array]], windows: Windows, count: Notes, replicates: int
) -> tuple[list[Row], list[Row]]:
    """Rows of nats per note by set, and of the model's less the n-gram's; and their replicates.

    Args:
        nats: of each scored token per window, of `generated` and `ngram`.
    """
    over = PerNote(notes_in(windows, count), [piece for piece, *_ in windows])
    model, ngram = over.sums(nats["generated"]), over.sums(nats["ngram"])
    notes, pieces = int(over.notes.sum()), len(over.names)
    rows, drawn = [], []
    for metric, clips, sums, n in (
        ("nats_per_note", "generated", model, notes),
        ("nats_per_note", "ngram", ngram, notes),
        ("nats_per_note_less_ngram", "generated", model - ngram, pieces),
    ):
        common: Row = {"metric": metric, "clips": clips}
        if not notes:
            rows.append(common | {"unit": "nats", "note": "n/a: no note begins in what is scored"})
            continue
        rows.append(common | {"unit": "nats", "n": n} | over.row(sums))
        drawn += _replicates(common, over.replicates(sums, replicates))
    return rows, drawn


def _replicates(common: Row, values: list[float]) -> list[Row]:
    return [common | {"replicate": r, "value": f"{x:.6f}"} for r, x in enumerate(values)]


def perplexities(
    nats_of: Nats, packed: Path, *, most: int, replicates: int, notes: Notes | None = None
) -> tuple[list[Row], list[Row]]:
    """Rows of the model, the n-gram and the shuffled baseline, and their replicates.

    Args:
        nats_of: minus log probability of each scored token of windows by the model.
        notes: how many notes begin in some ids; None: the tokens are no notes.
    """
    from datasets import load_from_disk

    test = load_from_disk(str(packed / "test"))
    windows = held_out(test, most)
    sets = ("generated", "ngram", "shuffled")
    common: Row = {"metric": "perplexity", "unit": "per token"}
    if not windows:
        note = "n/a: the test split has no windows"
        return [common | {"clips": name, "note": note} for name in sets], []
    train = load_from_disk(str(packed / "train"))
    training = [part for _, group in windows_of(train) for part in joined(group)]
    vocabulary = read_json(packed / "info.json")["vocabulary"]
    nats = {
        "generated": nats_of(windows),
        "ngram": ngram_nats(ngram_of(training, vocabulary), windows),
        "shuffled": ngram_nats(ngram_of(training, vocabulary, 1), windows),
    }
    rows, drawn = [], []
    for name in sets:
        row, values = summarise(nats[name], [piece for piece, *_ in windows], replicates)
        rows.append(common | {"clips": name} | row)
        drawn += _replicates({"metric": "perplexity", "clips": name}, values)
    more, more_drawn = per_note(nats, windows, notes, replicates) if notes else ([], [])
    return rows + more, drawn + more_drawn


def write_perplexity(
    experiment: TrainedExperiment, name: str, seed: str, *, parts: Parts, most: int,
    replicates: int, table: Path, drawn: Path,
) -> None:  # fmt: skip
    """The perplexities of one trained model as tidy rows.

    Args:
        parts: the packed token set, its tokenizers, and the folder of the stage that is asked.
    """
    assert parts.packed is not None
    system, (model,) = open_system(experiment.system), parts.models.values()
    nats_of = partial(system.nats, system.load_tokenizer(model, parts))
    rows, more = perplexities(
        *(nats_of, parts.packed),
        most=most,
        replicates=replicates,
        notes=system.note_counter(parts),
    )
    common = head(experiment, name, f"seed-{seed}", parts.packed)
    write_csv(drawn, REPLICATE_COLUMNS, more)
    write_csv(table, COLUMNS, (common | row for row in rows))
