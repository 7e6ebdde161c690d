"""The MIDI of a shard as windows of tokens: one JSON object a line.

Every kept piece of the ingest table is one row of a table beside the tokens: what became of it, and
what each step counted. A piece that cannot be used is a row with a reason, never an exception.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from etude.config import Filter, SymbolicTokenSet
from etude.corpus.piece_paths import piece_paths
from etude.midi.notes import MidiError
from etude.pool import map_in_order
from etude.storage import atomic, atomic_directory, read_csv, write_csv, write_text
from etude.tokenizers.symbolic.base import Encoded, SymbolicTokenizer
from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer
from etude.tokenizers.symbolic.windows import window_spans

VERSION = 3  # raised when lines or rows change
COLUMNS = ("piece", "status", "reason", "windows", "windows_made")
STATISTICS = ["statistic", "key", "count"]
CHUNK = 16  # pieces that go to a worker at a time

log = logging.getLogger(__name__)

Job = tuple[str, str, Path]  # piece, kind, path


@dataclass
class Tokenized:
    """What a worker sends back of a piece: its row, its lines, and its part of the statistics."""

    row: dict[str, Any]
    lines: str = ""
    statistics: dict[tuple[str, str], int] = field(default_factory=dict)


def tokenize_shard(
    settings: SymbolicTokenSet,
    rules: Filter,
    tokenizer: Path,
    ingest: Path,
    root: Path,
    tokens: Path,
    table: Path,
    statistics: Path,
    threads: int,
) -> None:
    """Write the windows of every kept piece, in the order of the ingest table.

    Args:
        settings: the token set.
        rules: the corpus's filter.
        tokenizer: folder of the tokenizer.
        ingest: table of the shard.
        root: where the corpus lies.
        tokens: the .jsonl file; empty where nothing was kept.
        table: .csv with a row for each piece.
        statistics: .csv with histograms, summed over the shard.
        threads: worker processes.
    """
    columns = [*COLUMNS, *loaded(tokenizer).count_columns]
    counts: Counter[str] = Counter()
    sums: Counter[tuple[str, str]] = Counter()
    results = _results(settings, rules, tokenizer, ingest, root, None, threads)
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic(tokens))
        file = stack.enter_context(temporary.open("w", encoding="utf-8"))

        def rows() -> Iterator[dict[str, Any]]:
            for result in results:
                file.write(result.lines)
                sums.update(result.statistics)
                counts[result.row["reason"].split(":")[0] or "kept"] += 1
                yield result.row

        write_csv(table, columns, rows())
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], natural(item[0][1])))
    write_csv(
        statistics, STATISTICS, (dict(zip(STATISTICS, (*k, n), strict=True)) for k, n in ordered)
    )
    log.info("%s", ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "no pieces")


def write_events(
    settings: SymbolicTokenSet,
    rules: Filter,
    tokenizer: Path,
    ingest: Path,
    root: Path,
    folder: Path,
    threads: int,
) -> None:
    """Write MidiLM's files of each kept piece of a shard, and index.csv with its counts."""
    columns = [*COLUMNS, *loaded(tokenizer).count_columns]
    with atomic_directory(folder) as temporary:
        results = _results(settings, rules, tokenizer, ingest, root, temporary, threads)
        count = write_csv(temporary / "index.csv", columns, (result.row for result in results))
    log.info("%d pieces", count)


@lru_cache(maxsize=2)
def loaded(folder: Path) -> SymbolicTokenizer:
    """The tokenizer in a folder; forked workers have it already."""
    return load_symbolic_tokenizer(folder)


def _results(
    settings: SymbolicTokenSet,
    rules: Filter,
    tokenizer: Path,
    ingest: Path,
    root: Path,
    files: Path | None,
    threads: int,
) -> Iterator[Tokenized]:
    rows = [
        {"piece": row["piece"], "path": row["path"], "kind": row["kind"]}
        for row in read_csv(ingest)
        if row["status"] == "kept"
    ]
    paths = piece_paths(root, rows)
    jobs = [(row["piece"], row["kind"], paths[row["piece"]]) for row in rows]
    return map_in_order(
        partial(tokenize_piece, settings, rules, tokenizer, files),
        jobs,
        threads,
        title="tokenize",
        unit="piece",
        chunk=CHUNK,
        fallen=_fallen,
        limit_s=rules.computing_limit_s,
    )


def tokenize_piece(
    settings: SymbolicTokenSet, rules: Filter, tokenizer: Path, files: Path | None, job: Job
) -> Tokenized:
    """The windows of one piece.

    Args:
        files: a folder for the files of each step; none: they are not written.
    """
    piece, kind, path = job
    row: dict[str, Any] = {"piece": piece, "status": "kept", "reason": "", "windows": 0}
    if kind != "midi":
        return Tokenized(row | {"status": "rejected", "reason": "not_midi"})
    try:
        encoded = loaded(tokenizer).encode_file(
            path.read_bytes(),
            rules,
            settings.transpositions,
            settings.max_seconds,
            files is not None,
        )
    except MidiError as error:  # mido may refuse what symusic read, or the file has changed
        return Tokenized(row | {"status": "rejected", "reason": str(error)})
    except OSError as error:
        reason = f"unreadable: {error.strerror}"
        return Tokenized(row | {"status": "rejected", "reason": reason})
    if files is not None:
        for ending, text in encoded.files.items():
            write_text(files / f"{piece}{ending}", text)
    return _with_windows(settings, loaded(tokenizer), piece, row | encoded.counts, encoded)


def _with_windows(
    settings: SymbolicTokenSet,
    tokenizer: SymbolicTokenizer,
    piece: str,
    row: dict[str, Any],
    encoded: Encoded,
) -> Tokenized:
    lines, made, reach = [], 0, 0
    for transpose, ids in encoded.ids.items():
        whole = with_ends(ids, tokenizer) if settings.ends else ids
        for number, (start, stop) in enumerate(window_spans(len(whole), settings)):
            made += 1
            if tokenizer.exact_windows and (transpose or stop - start != settings.window):
                continue
            reach = reach if transpose else max(reach, stop)  # windows leave no gaps
            line = {"piece": piece, "window": number, "transpose": transpose}
            line["input_ids"] = whole[start:stop]
            lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    row |= {"windows": len(lines), "windows_made": made}
    ids = encoded.ids[0]
    whole = with_ends(ids, tokenizer) if settings.ends else ids
    reached = tokenizer.notes_in(whole[:reach])
    row |= {"notes_out": reached, "lost_in_no_window": row["notes_out"] - reached}
    if not lines:
        size = "too_long" if len(whole) > settings.window else "too_short"
        reason = f"{size}: {len(ids)} tokens" if ids else "no_notes"
        row |= {"status": "rejected", "reason": reason}
    return Tokenized(row, "".join(lines), encoded.statistics)


def with_ends(ids: list[int], tokenizer: SymbolicTokenizer) -> list[int]:
    """A piece between BOS and EOS, as far as the tokenizer has them; nothing stays nothing."""
    if not ids:
        return ids
    begin = [] if tokenizer.bos is None else [tokenizer.bos]
    return [*begin, *ids, *([] if tokenizer.eos is None else [tokenizer.eos])]


def _fallen(job: Job, reason: str) -> Tokenized:
    """The row of a piece that brought its worker down."""
    return Tokenized({"piece": job[0], "status": "rejected", "reason": reason, "windows": 0})


def natural(key: str) -> tuple[int, list[int]]:
    """Numbers by value; chords by size, then by notes.

    Example:
        >>> sorted(["60_64", "9", "60"], key=natural)
        ['9', '60', '60_64']
    """
    numbers = [int(part) for part in key.split("_")]
    return len(numbers), numbers
