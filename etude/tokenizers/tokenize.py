"""The segments of a shard as tokens: one JSON object a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from etude.audio.cuts import kept_segments
from etude.config import Cut
from etude.errors import UserError
from etude.pool import Failed, tried_together
from etude.storage import atomic, write_csv
from etude.tokenizers.base import AcousticTokenizer, SemanticTokenizer
from etude.tokenizers.registry import load_tokenizer
from etude.tokenizers.segments import Segment, batched, check_cut, read_batch

VERSION = 1  # raised when lines change

LEFT_OUT_COLUMNS = ["piece", "segments", "reason"]

log = logging.getLogger(__name__)


def tokenize_shard(
    cut: Cut,
    wav: Path,
    cut_folder: Path,
    semantic: Path,
    acoustic: Path,
    output: Path,
    left_out: Path,
) -> None:
    """Write the tokens of every kept segment, in the order of the cut's index.csv.

    Args:
        cut: the cut.
        wav: folder of piece WAVs, which each tokenizer reads at its own rate.
        cut_folder: the cut's folder of this shard.
        semantic, acoustic: folders of fitted tokenizers.
        output: the .jsonl file; empty where nothing was kept.
        left_out: the CSV of pieces (LEFT_OUT_COLUMNS) of which a segment could not be tokenized.

    Raises:
        UserError: if a tokenizer is missing or does not go with the cut.
    """
    tokenizers = load_tokenizer(semantic), load_tokenizer(acoustic)
    if not hasattr(tokenizers[1], "decode"):
        raise UserError(
            f"{type(tokenizers[1]).__name__} is no acoustic tokenizer: it has no `decode`",
            where=str(acoustic),
            do="name it as the token set's `semantic`, or write its `decode`",
        )
    for tokenizer, folder in zip(tokenizers, (semantic, acoustic), strict=True):
        check_cut(cut, tokenizer, str(folder))
    total = sum(1 for _ in kept_segments(cut_folder))
    left: dict[str, list[str]] = {}
    segments = ((wav, row) for row in kept_segments(cut_folder))
    with (
        atomic(output) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        tqdm(total=total, desc="tokenize", unit="segment", mininterval=1) as progress,
    ):
        for batch in batched(segments, cut.seconds):
            lines = tried_together(lambda some: list(_lines(some, *tokenizers)), batch)
            for (_, row), line in zip(batch, lines, strict=True):
                if isinstance(line, Failed):
                    left.setdefault(row["piece"], []).append(line.reason)
                else:
                    file.write(line)
            progress.update(len(batch))
    _write_left_out(left, left_out)
    log.info("%d segments, %d left out", total, sum(map(len, left.values())))


def _write_left_out(left: Mapping[str, list[str]], path: Path) -> None:
    """Of each piece how many segments are missing, and why the first of them is."""
    rows: list[dict[str, Any]] = [
        {"piece": piece, "segments": len(reasons), "reason": reasons[0]}
        for piece, reasons in sorted(left.items())
    ]
    write_csv(path, LEFT_OUT_COLUMNS, rows)
    for row in rows:
        log.warning("%(piece)s is left out, or a part of it: %(reason)s", row)


def _lines(
    batch: Sequence[Segment], semantic: SemanticTokenizer, acoustic: AcousticTokenizer
) -> Iterator[str]:
    waves = {rate: read_batch(batch, rate) for rate in {semantic.sample_rate, acoustic.sample_rate}}
    ids = semantic.encode(waves[semantic.sample_rate]).tolist()
    codes = acoustic.encode(waves[acoustic.sample_rate]).tolist()
    for (_, row), item_ids, item_codes in zip(batch, ids, codes, strict=True):
        line = {
            "segment": row["segment"],
            "piece": row["piece"],
            "last": row["last"] == "true",
            "semantic": item_ids,
            "acoustic": item_codes,
        }
        yield json.dumps(line, separators=(",", ":")) + "\n"
