"""Tokens joined with the split: the only input of training, and the gate against leakage.

The items of a split are in the order of their segments' names, so that the number of shards
changes neither the packed data nor its hash.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etude.config import Cut
from etude.corpus.split import check_no_leak
from etude.errors import UserError
from etude.storage import atomic_directory, hash_folder, read_csv, write_csv, write_json
from etude.tokenizers.base import AcousticTokenizer, SemanticTokenizer
from etude.tokenizers.fitted import weights_of
from etude.tokenizers.registry import load_tokenizer
from etude.tokenizers.segments import check_cut
from etude.tokenizers.tokenize import LEFT_OUT_COLUMNS
from etude.tokenizers.usage import codes_used, hardly_used

if TYPE_CHECKING:
    from datasets import Dataset

VERSION = 2  # raised when the packed data change

SPLITS = ("train", "valid", "test")

log = logging.getLogger(__name__)


def pack_tokens(
    tokens: list[Path],
    pieces: Path,
    semantic: Path,
    acoustic: Path,
    cut: Cut,
    folder: Path,
    left_out: Sequence[Path] = (),
) -> None:
    """Write train/, valid/ and test/ (datasets' save_to_disk), info.json and left_out.csv.

    Columns: segment, piece, last, semantic int32 [frames], acoustic int32 [quantizers * frames],
    quantizer by quantizer. Pieces that were rejected after they were tokenized (duplicates) are
    left out; a split may be empty, but not the one for training.

    Args:
        tokens, pieces: .jsonl files, one per shard; pieces.csv, which holds the split.
        semantic, acoustic: folders of the tokenizers that made the tokens.
        cut, folder: what was tokenized, and what is written.
        left_out: of each shard, the CSV of pieces of which segments could not be tokenized.

    Raises:
        UserError: if anything crosses from one split to another, if tokens do not fit the
            tokenizers or pieces.csv, or if there is nothing to train on.
    """
    shape = token_shape(
        load_tokenizer(semantic), load_tokenizer(acoustic), cut, (str(semantic), str(acoustic))
    )
    check_no_leak(read_csv(pieces))
    splits = {row["piece"]: row["split"] for row in read_csv(pieces)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".pack-", dir=folder.parent) as scratch,
        atomic_directory(folder) as temporary,
    ):
        why, do = "no segment of the corpus was kept", "look at the reasons in the cut's index.csv"
        everything = read_lines(tokens, Path(scratch), _features, why, do)
        _check_tokens(everything, shape)
        packed = _parted(everything, splits, shape, Path(scratch))
        why = "no segment of a training piece was kept"
        counts = check_splits(packed, splits, why, f"{do} and at the split in pieces.csv")
        data_hash = _hash(packed)
        for split, dataset in packed.items():
            save_split(dataset, temporary / split, data_hash)
        info = {**shape, "data_hash": data_hash, "splits": counts, "cut": cut.model_dump()}
        lost, used = _join(left_out, temporary / "left_out.csv"), codes_used(packed["train"], shape)
        info |= {"left_out": lost, "codes_used": used}
        info |= _made_by({"semantic": semantic, "acoustic": acoustic})
        write_json(temporary / "info.json", info)
    _log_packed(info, counts)


def _parted(
    everything: Dataset, splits: dict[str, str], shape: dict[str, Any], scratch: Path
) -> dict[str, Dataset]:
    """The lines of each split, as they are trained on."""
    return {
        split: _flattened(everything.select(rows), shape, scratch / f"{split}.arrow")
        for split, rows in _rows_of_splits(everything, splits).items()
    }


def _made_by(tokenizers: dict[str, Path]) -> dict[str, Any]:
    """The tokenizers' hashes (weights from elsewhere are asked whether they learned with these),
    and the weights of others that made the tokens, where any did.
    """
    weights = weights_of(tokenizers)
    hashes = {role: hash_folder(folder) for role, folder in tokenizers.items()}
    return {"tokenizers": hashes} | ({"weights": weights} if weights else {})


def _join(left_out: Sequence[Path], path: Path) -> dict[str, int]:
    """One table of what the shards' tokens lack; gives back how much it is."""
    rows = [row for shard in left_out for row in read_csv(shard)]
    write_csv(path, LEFT_OUT_COLUMNS, rows)
    return {"pieces": len(rows), "segments": sum(int(row["segments"]) for row in rows)}


def _log_packed(info: dict[str, Any], counts: dict[str, Any]) -> None:
    for few in hardly_used(info):
        log.warning("%s: there is little music, or a piece is unlike all others", few)
    log.info("packed %s", ", ".join(f"{s}: {c['items']}" for s, c in counts.items()))


def token_shape(
    semantic: SemanticTokenizer, acoustic: AcousticTokenizer, cut: Cut, names: tuple[str, str]
) -> dict[str, Any]:
    """What models need to know of a token set."""
    return {
        "semantic_vocabulary": semantic.codebook_size,
        "semantic_frames": check_cut(cut, semantic, names[0]),
        "semantic_frame_rate": semantic.frame_rate,
        "codebook_size": acoustic.codebook_size,
        "quantizers": acoustic.quantizers,
        "acoustic_frames": check_cut(cut, acoustic, names[1]),
        "acoustic_frame_rate": acoustic.frame_rate,
    }


def _features() -> Any:
    from datasets import Features, List, Value

    return Features(
        segment=Value("string"),
        piece=Value("string"),
        last=Value("bool"),
        semantic=List(Value("int32")),
        acoustic=List(List(Value("int32"))),
    )


def read_lines(
    tokens: list[Path], scratch: Path, features: Callable[[], Any], why: str, do: str
) -> Dataset:
    """All lines of all shards, on disk in `scratch`.

    Args:
        features: gives datasets' features; called once nothing can be looked up online.
        why, do: what is said where there are no lines.

    Raises:
        UserError: there are none.
    """
    files = [str(path) for path in tokens if path.stat().st_size]
    if not files:
        where = str(tokens[0].parent) if tokens else ""
        raise UserError("there are no tokens", code="no-tokens", where=where, why=why, do=do)
    # Nothing is looked up: neither on a server nor in a cache outside this folder.
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(
        "json", data_files=files, split="train", features=features(), cache_dir=str(scratch)
    )


def _check_tokens(everything: Dataset, shape: dict[str, Any]) -> None:
    """Lengths and ranges are those of the tokenizers, for every line."""
    expected = {
        "semantic": ([shape["semantic_frames"]], shape["semantic_vocabulary"]),
        "acoustic": ([shape["quantizers"], shape["acoustic_frames"]], shape["codebook_size"]),
    }
    for name, (lengths, size) in expected.items():
        for chunk in everything.data.column(name).chunks:
            fits = True
            for length in lengths:
                fits = fits and pc.all(pc.equal(pc.list_value_length(chunk), length)).as_py()
                chunk = chunk.flatten()
            if not (fits and pc.min(chunk).as_py() >= 0 and pc.max(chunk).as_py() < size):
                raise UserError(
                    f"{name} tokens do not fit their tokenizer",
                    code="tokens-do-not-fit",
                    why=f"lengths must be {lengths} and numbers below {size}",
                    do="delete the folder of tokens and run the workflow again",
                )


def _rows_of_splits(everything: Dataset, splits: dict[str, str]) -> dict[str, np.ndarray]:
    """For each split the rows that belong to it, in the order of their segments' names."""
    segments = everything.data.column("segment").cast(pa.large_string()).combine_chunks()
    order = pc.sort_indices(segments).to_numpy().astype(np.int64)
    ordered = segments.take(pa.array(order))
    repeated = pc.equal(ordered[1:], ordered[:-1])
    if pc.any(repeated).as_py():
        raise UserError(
            "a segment was tokenized twice",
            code="tokenized-twice",
            where=ordered[1:].filter(repeated)[0].as_py(),
            why="two shards hold the same piece",
            do="delete the folder of tokens and run the workflow again",
        )
    return split_rows(everything, order, splits)


def split_rows(
    everything: Dataset, order: np.ndarray, splits: dict[str, str]
) -> dict[str, np.ndarray]:
    """For each split the rows whose piece belongs to it.

    Args:
        order: all rows, in the order that they shall have.

    Raises:
        UserError: a piece is not in pieces.csv.
    """
    encoded = everything.data.column("piece").dictionary_encode().combine_chunks()
    names = encoded.dictionary.to_pylist()
    unknown = [name for name in names if name not in splits]
    if unknown:
        raise UserError(
            f"{len(unknown)} tokenized pieces are not in pieces.csv",
            code="pieces-not-in-table",
            where=unknown[0],
            do="run the workflow again, so that both come from the same files",
        )
    numbers = {split: number for number, split in enumerate(SPLITS)}
    of_piece = np.array([numbers.get(splits[name], -1) for name in names], np.int8)
    of_row = of_piece[encoded.indices.to_numpy()][order]
    return {split: order[of_row == numbers[split]] for split in SPLITS}


def _flattened(dataset: Dataset, shape: dict[str, Any], file: Path) -> Dataset:
    """With lists of fixed length, and acoustic codes as one list."""
    from datasets import Dataset, Features, List, Value

    length = shape["quantizers"] * shape["acoustic_frames"]
    features = Features(
        segment=Value("string"),
        piece=Value("string"),
        last=Value("bool"),
        semantic=List(Value("int32"), length=shape["semantic_frames"]),
        acoustic=List(Value("int32"), length=length),
    )
    if not len(dataset):
        return Dataset.from_dict({name: [] for name in features}, features=features)

    def flatten(table: pa.Table) -> pa.Table:
        # Every array is made again: parts of other arrays would be written with their offsets.
        columns = {
            name: pa.array(table.column(name).to_pylist()) for name in ("segment", "piece", "last")
        }
        for name in ("semantic", "acoustic"):
            values = table.column(name).combine_chunks()
            while not pa.types.is_integer(values.type):
                values = values.flatten()
            flat = pa.array(values.to_numpy())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, features[name].length)
        return pa.table(columns)

    return dataset.with_format("arrow").map(
        flatten,
        batched=True,
        features=features,
        cache_file_name=str(file),
        new_fingerprint=file.stem,  # else the function would be pickled to name the file
    )


def check_splits(
    packed: dict[str, Dataset], splits: dict[str, str], why: str, do: str
) -> dict[str, dict[str, int]]:
    """The gate on what was really packed: every piece on its own side, training not empty.

    Args:
        why, do: what is said where there is nothing to train on.

    Returns:
        items and pieces of each split.
    """
    counts = {}
    for split, dataset in packed.items():
        pieces = pc.unique(dataset.data.column("piece")).to_pylist()
        strays = [piece for piece in pieces if splits[piece] != split]
        if strays:
            raise UserError(
                f"{len(strays)} pieces crossed into {split}",
                code="leaking-split",
                where=strays[0],
                why=f"pieces.csv has it in {splits[strays[0]]!r}",
                do="report this: it is a defect of the program",
            )
        counts[split] = {"items": len(dataset), "pieces": len(pieces)}
    if not counts["train"]["items"]:
        raise UserError("there is nothing to train on", code="nothing-to-train-on", why=why, do=do)
    return counts


def _hash(packed: dict[str, Dataset]) -> str:
    """SHA-256 of everything that training can see, in the order in which it is stored."""
    digest = hashlib.sha256()
    for split, dataset in packed.items():
        digest.update(f"{split} {len(dataset)}\n".encode())
        for batch in dataset.with_format("arrow").iter(batch_size=1000):
            for name in ("segment", "piece", "last"):
                digest.update("\n".join(map(str, batch.column(name).to_pylist())).encode())
            for name in ("semantic", "acoustic"):
                values = batch.column(name).combine_chunks().flatten().to_numpy()
                digest.update(values.astype("<i4").tobytes())
    return digest.hexdigest()


def save_split(dataset: Dataset, folder: Path, data_hash: str) -> None:
    """Save without what changes from run to run: source paths, sizes and fingerprints."""
    from datasets import Dataset, DatasetInfo

    info = DatasetInfo(features=dataset.features)
    plain = Dataset(dataset.data, info=info, fingerprint=data_hash[:16])
    # An empty dataset needs one empty file, or it cannot be loaded again.
    plain.save_to_disk(folder, num_shards=None if len(plain) else 1)
