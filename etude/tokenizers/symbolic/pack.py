"""Symbolic tokens joined with the split: the only input of training, and the gate against leakage.

results/packed/{corpus}/{tokens}/ then holds train/, valid/ and test/ (datasets' save_to_disk) with
the columns piece (string), window (int32, counted from 0 in its piece and transposition),
transpose (int32, semitones; 0 alone outside of train) and input_ids (list of int32, at most
`window` of them, not padded); and info.json:

    kind          "symbolic" (packed audio has no such key)
    tokenizer     the `kind` of its settings (onoff, remi, …)
    vocabulary    ids are in 0 ... vocabulary - 1
    pad, bos, eos, unknown   ids, or null where there is no such token (pad there always is)
    window        tokens of a window at most
    data_hash     SHA-256 of all that training can see
    splits        {train: {items, pieces, tokens}, valid: …, test: …}
    tokenizers    {symbolic: hash of the tokenizer's folder}
    tokens        the settings of the token set

Rows are in the order of piece, transposition (as configured) and window, so that the number of
shards changes neither the packed data nor its hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etude.config import SymbolicTokenSet
from etude.corpus.split import check_no_leak
from etude.errors import UserError
from etude.storage import atomic_directory, hash_folder, read_csv, read_json, write_json
from etude.tokenizers.fitted import CONFIG
from etude.tokenizers.pack import check_splits, read_lines, save_split, split_rows

if TYPE_CHECKING:
    from datasets import Dataset

VERSION = 1  # raised when the packed data change
LOOK = "look at the reasons in the tables beside the tokens (results/tokens/) and at the split"
DESCRIBED = ("vocabulary", "pad", "bos", "eos", "unknown")

log = logging.getLogger(__name__)


def pack_symbolic(
    settings: SymbolicTokenSet, tokens: list[Path], pieces: Path, tokenizer: Path, folder: Path
) -> None:
    """Write train/, valid/, test/ and info.json: see this module's head.

    Args:
        settings: the token set.
        tokens: .jsonl files, one per shard.
        pieces: pieces.csv, which holds the split.
        tokenizer: folder of the tokenizer that made the tokens.
        folder: what is written.

    Raises:
        UserError: anything crosses from one split to another, tokens do not fit the tokenizer or
            pieces.csv, or there is nothing to train on.
    """
    described = read_json(tokenizer / CONFIG)
    check_no_leak(read_csv(pieces))
    splits = {row["piece"]: row["split"] for row in read_csv(pieces)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".pack-", dir=folder.parent) as scratch,
        atomic_directory(folder) as temporary,
    ):
        everything = read_lines(
            tokens, Path(scratch), _features, "no piece of the corpus gave a window", LOOK
        )
        _check_tokens(everything, described["vocabulary"], settings.window)
        packed = {
            split: _gathered(everything.select(rows), Path(scratch, f"{split}.arrow"))
            for split, rows in _rows_of_splits(settings, everything, splits).items()
        }
        counts = check_splits(packed, splits, "no training piece gave a window", LOOK)
        for split, dataset in packed.items():
            counts[split]["tokens"] = _tokens(dataset)
        data_hash = _hash(packed)
        for split, dataset in packed.items():
            save_split(dataset, temporary / split, data_hash)
        info = {
            "kind": "symbolic",
            "tokenizer": described["kind"],
            **{key: described[key] for key in DESCRIBED},
            "window": settings.window,
            "data_hash": data_hash,
            "splits": counts,
            "tokenizers": {"symbolic": hash_folder(tokenizer)},
            "tokens": json.loads(settings.tokens_params()),
        }
        write_json(temporary / "info.json", info)
    log.info("packed %s", ", ".join(f"{s}: {c['items']}" for s, c in counts.items()))


def _features() -> Any:
    from datasets import Features, List, Value

    return Features(
        piece=Value("string"),
        window=Value("int32"),
        transpose=Value("int32"),
        input_ids=List(Value("int32")),
    )


def _check_tokens(everything: Dataset, vocabulary: int, window: int) -> None:
    """Lengths and ranges are those of the tokenizer and the token set, for every line."""
    for chunk in everything.data.column("input_ids").chunks:
        longest, ids = pc.max(pc.list_value_length(chunk)).as_py(), chunk.flatten()
        low, high = pc.min(ids).as_py(), pc.max(ids).as_py()
        if longest > window or low is None or low < 0 or high >= vocabulary:
            raise UserError(
                "tokens do not fit their tokenizer",
                why=f"windows must have 1 to {window} ids below {vocabulary}; found are {longest} "
                f"ids, {low} to {high}",
                do="delete the folder of tokens and run the workflow again",
            )


def _rows_of_splits(
    settings: SymbolicTokenSet, everything: Dataset, splits: dict[str, str]
) -> dict[str, np.ndarray]:
    """The rows of each split, by piece, transposition and window; held out untransposed only."""
    place = {shift: i for i, shift in enumerate(settings.transpositions)}
    shifts = everything.data.column("transpose").to_numpy()
    unknown = set(np.unique(shifts).tolist()) - place.keys()
    if unknown:
        raise UserError(
            f"tokens are transposed by {min(unknown)}, which the token set does not name",
            do="delete the folder of tokens and run the workflow again",
        )
    pieces = everything.data.column("piece").dictionary_encode().combine_chunks()
    names = np.array(pieces.dictionary.to_pylist())
    rank = np.argsort(np.argsort(names))[pieces.indices.to_numpy()]
    moved = np.array([place[int(shift)] for shift in np.unique(shifts)])[
        np.searchsorted(np.unique(shifts), shifts)
    ]
    windows = everything.data.column("window").to_numpy()
    order = np.lexsort((windows, moved, rank))
    key = np.stack([rank, moved, windows])[:, order]
    again = (key[:, 1:] == key[:, :-1]).all(axis=0)
    if again.any():
        raise UserError(
            "a window was tokenized twice",
            where=str(np.sort(names)[key[0, 1:][again][0]]),
            why="two shards hold the same piece",
            do="delete the folder of tokens and run the workflow again",
        )
    rows = split_rows(everything, order.astype(np.int64), splits)
    return {s: r if s == "train" else r[shifts[r] == 0] for s, r in rows.items()}


def _gathered(dataset: Dataset, file: Path) -> Dataset:
    """The rows in their order, with arrays of their own."""
    from datasets import Dataset

    features = _features()
    if not len(dataset):
        return Dataset.from_dict({name: [] for name in features}, features=features)

    def gather(table: pa.Table) -> pa.Table:
        # Every array is made again: parts of other arrays would be written with their offsets.
        columns = {"piece": pa.array(table.column("piece").to_pylist())}
        for name in ("window", "transpose"):
            columns[name] = pa.array(table.column(name).to_numpy().astype(np.int32))
        ids = table.column("input_ids").combine_chunks()
        lengths = pc.list_value_length(ids).to_numpy()
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        values = pa.array(ids.flatten().to_numpy().astype(np.int32))
        columns["input_ids"] = pa.ListArray.from_arrays(offsets, values)
        return pa.table(columns)

    return dataset.with_format("arrow").map(
        gather,
        batched=True,
        features=features,
        cache_file_name=str(file),
        new_fingerprint=file.stem,  # else the function would be pickled to name the file
    )


def _tokens(dataset: Dataset) -> int:
    column = dataset.data.column("input_ids")
    return sum(pc.sum(pc.list_value_length(chunk)).as_py() or 0 for chunk in column.chunks)


def _hash(packed: dict[str, Dataset]) -> str:
    """SHA-256 of everything that training can see, in the order in which it is stored."""
    digest = hashlib.sha256()
    for split, dataset in packed.items():
        digest.update(f"{split} {len(dataset)}\n".encode())
        for batch in dataset.with_format("arrow").iter(batch_size=1000):
            digest.update("\n".join(batch.column("piece").to_pylist()).encode())
            for name in ("window", "transpose"):
                digest.update(batch.column(name).to_numpy().astype("<i4").tobytes())
            ids = batch.column("input_ids").combine_chunks()
            digest.update(pc.list_value_length(ids).to_numpy().astype("<i4").tobytes())
            digest.update(ids.flatten().to_numpy().astype("<i4").tobytes())
    return digest.hexdigest()
