"""Cuts: which parts of which pieces are segments, and why the others are not.

Segment k of a piece starts at k * hop. A row is written for everything: kept segments, segments
below the threshold (`blank_segment:rms=N`), the part at the end that no segment covers
(`too_short`), and pieces recorded below the rate of the cut (`rate_too_low`). Only one segment
at a time is in memory, however long a piece is.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etude.audio.files import AudioError, AudioFile, write_wav
from etude.audio.levels import INT16_SCALE, dbfs, int16_rms
from etude.config import Cut
from etude.pool import map_in_order
from etude.storage import atomic_directory, read_csv, write_csv

VERSION = 1  # raised when segments or rows change

COLUMNS = [
    *("segment", "piece", "start_s", "seconds"),
    *("rms_dbfs", "rms", "last", "status", "reason"),
]

Row = dict[str, Any]

log = logging.getLogger(__name__)


def cut_shard(settings: Cut, wav: Path, folder: Path, threads: int) -> None:
    """Cut the pieces of one shard.

    Args:
        settings: the cut.
        wav: folder of piece WAVs with their index.csv (rejected rows are passed over).
        folder: where index.csv and, with `write_audio`, a WAV per kept segment go.
        threads: pieces cut at once.
    """
    pieces = [row["piece"] for row in read_csv(wav / "index.csv") if row["status"] == "kept"]
    with atomic_directory(folder) as temporary:
        target = temporary if settings.write_audio else None
        cut = partial(cut_piece, settings, wav, target=target)
        lost = partial(_fallen, temporary)
        cuts = map_in_order(cut, pieces, threads, title="cut", unit="piece", chunk=8, fallen=lost)
        rows = itertools.chain.from_iterable(cuts)
        count = write_csv(temporary / "index.csv", COLUMNS, rows)
    log.info("%d pieces, %d rows", len(pieces), count)


def cut_piece(settings: Cut, wav: Path, piece: str, target: Path | None = None) -> list[Row]:
    """The rows of one piece; its kept segments are written into `target` if there is one."""
    try:
        with AudioFile(wav / f"{piece}.wav") as file:
            if file.rate < settings.rate:
                return [_row(piece, 0, 0.0, file.seconds, reason="rate_too_low")]
            rows = list(_segments(settings, file, piece, target))
    except AudioError as error:
        log.warning("%s: %s", piece, error.reason)
        return [_row(piece, 0, 0.0, 0.0, reason=error.reason)]
    kept = [row for row in rows if row["status"] == "kept"]
    if kept:
        kept[-1]["last"] = "true"
    return rows


def _fallen(folder: Path, piece: str, reason: str) -> list[Row]:
    """The row of a piece that brought its worker down; what was written of it is removed."""
    for segment in folder.glob(f"{piece}_*.wav"):
        segment.unlink()
    return [_row(piece, 0, 0.0, 0.0, reason=reason)]


def _segments(settings: Cut, file: AudioFile, piece: str, target: Path | None) -> Iterator[Row]:
    rate = settings.rate
    length, covered = file.length(rate), 0
    for index in itertools.count():
        start_s = round(index * settings.hop, 6)
        start = round(start_s * rate)
        stop = start + round(settings.seconds * rate)
        if stop > length:
            # What earlier segments have already is no loss, and a piece is never without a row.
            if (start < length and covered < length) or index == 0:
                yield _row(piece, index, start_s, (length - start) / rate, reason="too_short")
            return
        samples = file.read(rate, start_s, settings.seconds)
        level = int16_rms(samples)
        reason = f"blank_segment:rms={int(level)}" if level < settings.rms_threshold else ""
        row = _row(piece, index, start_s, settings.seconds, level, reason)
        if target and not reason:
            write_wav(target / f"{row['segment']}.wav", samples, rate)
        covered = stop
        yield row


def _row(
    piece: str,
    index: int,
    start_s: float,
    seconds: float,
    level: float | None = None,
    reason: str = "",
) -> Row:
    return {
        "segment": f"{piece}_{index:05d}",
        "piece": piece,
        "start_s": start_s,
        "seconds": round(seconds, 6),
        "rms_dbfs": "" if level is None else f"{dbfs(level / INT16_SCALE):.2f}",
        "rms": "" if level is None else f"{level:.2f}",
        "last": "false",
        "status": "rejected" if reason else "kept",
        "reason": reason,
    }


def kept_segments(folder: Path) -> Iterator[dict[str, str]]:
    """The kept rows of a cut's index.csv, in order."""
    return (row for row in read_csv(folder / "index.csv") if row["status"] == "kept")


def why_nothing(wav: Iterable[Path], cuts: Iterable[Path], pieces: Collection[str]) -> str:
    """What became of pieces of which no segment was kept, in words: `4 too_short, 1 silent`.

    Args:
        wav, cuts: folders of piece WAVs and of their cuts.
        pieces: names.
    """
    reasons = Counter(
        row["reason"].partition(":")[0]
        for folder in (*wav, *cuts)
        for row in read_csv(folder / "index.csv")
        if row["status"] == "rejected" and row["piece"] in pieces
    )
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def read_segments(wav: Path, rows: Iterable[Mapping[str, str]], rate: int) -> np.ndarray:
    """Segments as they lie in the pieces' WAVs, at any rate that these have or exceed.

    Args:
        wav: folder of piece WAVs.
        rows: rows of a cut's index.csv, all of one length; neighbours of one piece are fastest.
        rate: samples per second, converted from the piece's own rate.

    Returns:
        float32 [segments, round(seconds * rate)].

    Raises:
        AudioError: `rate_too_low` where a piece's rate is below `rate`; what `AudioFile` raises.
    """
    segments = []
    for piece, group in itertools.groupby(rows, key=lambda row: row["piece"]):
        with AudioFile(wav / f"{piece}.wav") as file:
            for row in group:
                seconds = float(row["seconds"])
                samples = file.read(rate, float(row["start_s"]), seconds)
                missing = round(seconds * rate) - len(samples)
                if missing > 1:  # one may be lost where the rates do not divide
                    raise AudioError("ends_early: shorter than its cut says", file.path)
                segments.append(np.pad(samples, (0, missing)))
    return np.stack(segments) if segments else np.zeros((0, 0), np.float32)
