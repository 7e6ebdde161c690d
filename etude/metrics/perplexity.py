"""How well a language model foresees held-out music, beside a Kneser-Ney 5-gram of the same data.

Conventions
    Perplexity is exp of the mean cross-entropy per token, of the packed test split as it is (no
    transposition). Windows overlap: a token is scored once, in the first window that has it, and
    the first token of a piece not at all (a network has nothing to foresee it from). Perplexities
    of different tokenizers cannot be compared; nats per token are of this vocabulary only.

Rows
    generated  the trained model
    ngram      an interpolated modified Kneser-Ney model of order 5 of the training split, with the
               same transpositions, its overlapping windows joined (twice-counted grams would
               spoil its discounts)
    shuffled   what is left of it when the training tokens stand in random order: their frequencies
               (order 1; more would only learn chance)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.metrics.score import COLUMNS, config_hash
from etude.storage import read_json, write_csv
from etude.systems.ngram import NGram

VERSION = 1  # raised when the figures change

Ids = NDArray[np.int64]
Array = NDArray[np.float64]

ORDER = 5
BATCH = 8
LEAST_SHARED = 8
REPLICATE_COLUMNS = ["embedding", "metric", "clips", "replicate", "value"]


def overlap(before: Ids, after: Ids) -> int:
    """How many tokens at the beginning of a window are the end of the one before.

    Fewer than 8 are chance: windows that do not overlap.
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
    """A piece's windows without what they share; apart where they share nothing (a gap)."""
    parts: list[list[Ids]] = []
    for before, window in zip([None, *windows], windows, strict=False):
        shared = overlap(before, window) if before is not None else 0
        if parts and shared:
            parts[-1].append(window[shared:])
        else:
            parts.append([window])
    return [np.concatenate(part) for part in parts]


def held_out(dataset: Any, most: int) -> list[tuple[str, Ids, int]]:
    """(piece, window, first token that is scored in it) of a split, whole pieces first to last."""
    found: list[tuple[str, Ids, int]] = []
    for piece, windows in windows_of(dataset):
        for before, window in zip([None, *windows], windows, strict=False):
            shared = overlap(before, window) if before is not None else 0
            if len(window) > max(shared, 1):
                found.append((piece, window, max(shared, 1)))
    return found[:most]


def ngram_of(training: list[Ids], vocabulary: int, order: int = ORDER) -> NGram:
    """The n-gram model of a training split."""
    return NGram(vocabulary, order).fit([part.tolist() for part in training])


def ngram_nats(model: NGram, windows: list[tuple[str, Ids, int]]) -> list[Array]:
    """Minus log probability of each scored token, per window."""
    return [-np.log(model.probabilities(ids.tolist()))[first:] for _, ids, first in windows]


def network_nats(stage: Any, windows: list[tuple[str, Ids, int]]) -> list[Array]:
    """The same by a trained stage (`SymbolicLmStage`), in batches of windows of like length."""
    import torch

    from etude.systems.symbolic_lm.families import all_logits

    found: list[Array] = [np.zeros(0)] * len(windows)
    order = sorted(range(len(windows)), key=lambda i: (len(windows[i][1]), i))
    stage.eval()
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        longest = max(len(windows[i][1]) for i in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, i in enumerate(batch):
            ids[row, : len(windows[i][1])] = torch.from_numpy(windows[i][1])
        ids = ids.to(stage.device)
        with torch.inference_mode():
            logits = all_logits(stage.network, ids[:, :-1]).float()
            nats = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
            ).view(len(batch), -1)
        for row, i in enumerate(batch):
            _, own, first = windows[i]
            found[i] = nats[row, first - 1 : len(own) - 1].double().cpu().numpy()
    return found


def summarise(
    nats: list[Array], pieces: list[str], replicates: int
) -> tuple[dict[str, Any], list[float]]:
    """Perplexity with its 95 % interval over pieces, and its bootstrap replicates."""
    names = sorted(set(pieces))
    place = np.array([names.index(piece) for piece in pieces])
    sums = np.bincount(place, weights=[n.sum() for n in nats], minlength=len(names))
    counts = np.bincount(place, weights=[len(n) for n in nats], minlength=len(names))
    row: dict[str, Any] = {"value": f"{math.exp(sums.sum() / counts.sum()):.6f}"}
    row["n"] = int(counts.sum())
    drawn: list[float] = []
    if len(names) > 1:
        for r in range(replicates):
            chosen = np.random.default_rng([r, 0]).integers(0, len(names), len(names))
            drawn.append(math.exp(sums[chosen].sum() / counts[chosen].sum()))
        low, high = np.percentile(drawn, [2.5, 97.5])
        row |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
    return row, drawn


def perplexities(
    stage: Any, packed: Path, *, most: int, replicates: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the model, the n-gram and the shuffled baseline, and their replicates."""
    from datasets import load_from_disk

    test = load_from_disk(str(packed / "test"))
    windows = held_out(test, most)
    sets = ("generated", "ngram", "shuffled")
    common = {"metric": "perplexity", "unit": "per token"}
    if not windows:
        note = "n/a: the test split has no windows"
        return [common | {"clips": name, "note": note} for name in sets], []
    train = load_from_disk(str(packed / "train"))
    training = [part for _, group in windows_of(train) for part in joined(group)]
    vocabulary = read_json(packed / "info.json")["vocabulary"]
    nats = {
        "generated": network_nats(stage, windows),
        "ngram": ngram_nats(ngram_of(training, vocabulary), windows),
        "shuffled": ngram_nats(ngram_of(training, vocabulary, 1), windows),
    }
    rows, drawn = [], []
    for name in sets:
        row, values = summarise(nats[name], [piece for piece, *_ in windows], replicates)
        rows.append(common | {"clips": name} | row)
        drawn += [
            {"metric": "perplexity", "clips": name, "replicate": r, "value": f"{x:.6f}"}
            for r, x in enumerate(values)
        ]
    return rows, drawn


def write_perplexity(
    experiment: Any, name: str, seed: str, *, model: Path, packed: Path, most: int,
    replicates: int, table: Path, drawn: Path,
) -> None:  # fmt: skip
    """The perplexities of one trained model as tidy rows."""
    from etude.systems.symbolic_lm.stage import load_stage

    rows, more = perplexities(load_stage(model), packed, most=most, replicates=replicates)
    common = {
        "experiment": name,
        "system": experiment.system,
        "reference": f"{experiment.corpus} test",
        "split": "test",
        "train_seed": seed,
        "config_hash": config_hash(experiment),
        "data_hash": read_json(packed / "info.json")["data_hash"],
    }
    write_csv(drawn, REPLICATE_COLUMNS, more)
    write_csv(table, COLUMNS, (common | row for row in rows))
