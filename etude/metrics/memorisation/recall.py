"""Recall: planted copies that each search finds at 1 % false positives.

Metrics
    * `study`: for each search and attack the share of planted copies above the null's 99th
      percentile, with its exact interval. Copies are of the training split. The null is held-out
      excerpts of the same length (also of the hosts' length, for embedded spans).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from etude.config import Cut, Memorisation
from etude.metrics.memorisation import attacks, chroma
from etude.metrics.memorisation.catalogue import Catalogue
from etude.metrics.memorisation.exact import matches
from etude.metrics.memorisation.excerpts import HELD_OUT, CorpusPieces, Excerpt, Wave
from etude.metrics.memorisation.fingerprint import RATE, features
from etude.metrics.memorisation.neighbours import Neighbours
from etude.metrics.memorisation.null import Null, exact_interval
from etude.metrics.memorisation.reference import Places
from etude.metrics.memorisation.waveform import Waveforms
from etude.pool import Failed, tried_together
from etude.storage import write_csv

VERSION = 3  # raised when figures change

COLUMNS = [
    *("rung", "embedding", "attack", "span_s", "clip_s", "value", "ci_low", "ci_high", "n"),
    *("threshold", "note"),
]
CHROMA = "chroma"
Score = Callable[[Sequence[Wave]], np.ndarray]
Row = dict[str, Any]


@dataclass
class Rung:
    """A search as the study sees it: its name, and scores of waves at the cut's rate."""

    name: str
    embedding: str
    score: Score


def fingerprint_rung(catalogue: Catalogue, rate: int) -> Rung:
    """The fingerprint."""

    def score(waves: Sequence[Wave]) -> np.ndarray:
        probes = [features(soxr.resample(wave, rate, RATE)) for wave in waves]
        return np.array([match.score for match in catalogue.search(probes)])

    return Rung("fingerprint", "", score)


def waveform_rung(waveforms: Waveforms, rate: int) -> Rung:
    """The waveform."""

    def score(waves: Sequence[Wave]) -> np.ndarray:
        found = waveforms.search([soxr.resample(wave, rate, RATE) for wave in waves])
        return np.array([match.score for match in found])

    return Rung("waveform", "", score)


def chroma_rung(known: chroma.Chroma, rate: int) -> Rung:
    """Sequences of chroma."""

    def score(waves: Sequence[Wave]) -> np.ndarray:
        probes = [chroma.features(soxr.resample(wave, rate, RATE)) for wave in waves]
        return np.array([match.score for match in known.search(probes)])

    return Rung(CHROMA, "", score)


def exact_rung(training: Places, cut: Cut) -> Rung:
    """Hashes: the share of a clip's segments that equal a training segment."""

    def score(waves: Sequence[Wave]) -> np.ndarray:
        clips = [(str(i), wave) for i, wave in enumerate(waves)]
        shares: list[list[bool]] = [[] for _ in waves]
        for probe in matches(clips, training, cut.rate, cut.seconds, cut.hop or cut.seconds):
            shares[int(probe.clip)].append(bool(probe.found))
        return np.array([float(np.mean(found)) for found in shares])

    return Rung("exact", "", score)


def neighbours_rung(neighbours: Neighbours, name: str, model: Any, rate: int) -> Rung:
    """Nearest windows of an embedding."""

    def score(waves: Sequence[Wave]) -> np.ndarray:
        ratio = model.sample_rate
        found = [
            model.embed((w if ratio == rate else soxr.resample(w, rate, ratio))[None])[0]
            for w in waves
        ]
        owners = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
        near = neighbours.search(np.concatenate(found), owners, len(waves))
        return np.array([-1.0 if one is None else one.score for one in near])

    return Rung("neighbours", name, score)


def study(
    music: CorpusPieces,
    studio: attacks.CopyMaker,
    rungs: Sequence[Rung],
    settings: Memorisation,
    cut: Cut,
    seed: int,
) -> Iterator[Row]:
    """Rows of all searches and attacks; with embedded spans, those of chroma in 8 s clips too."""
    seconds, hop = cut.seconds, cut.hop or cut.seconds
    planted = _planted(music, studio, studio.attacks(), seconds, settings.planted, seed, hop)
    held_out = music.excerpts(HELD_OUT, seconds, settings.null_clips, seed)
    null = _waves(music, held_out, cut.rate)
    yield from _rows(music, rungs, null, planted, seconds, seconds)
    if settings.embedded:
        span, host = attacks.SPAN_SECONDS, attacks.HOST_SECONDS
        held_out = music.excerpts(HELD_OUT, host, settings.null_clips, seed)
        null = _waves(music, held_out, cut.rate)
        long = [rung for rung in rungs if rung.name == CHROMA and host != seconds]
        whole = studio.attacks() if long else []
        planted = _planted(music, studio, whole, host, settings.planted, seed, hop)
        yield from _rows(music, long, null, planted, host, host)
        names = [name for name in attacks.EMBEDDED if name in studio.attacks() and null]
        spans = _planted(music, studio, names, span, settings.planted, seed + 1, hop)
        planted = {
            name: [
                (e, studio.embed(wave, null[i % len(null)][1])) for i, (e, wave) in enumerate(made)
            ]
            for name, made in spans.items()
        }
        yield from _rows(music, rungs[1:], null, planted, span, host)


Waves = list[tuple[Excerpt, Wave]]


def _waves(music: CorpusPieces, excerpts: list[Excerpt], rate: int) -> Waves:
    return list(music.each(lambda e: music.read(e, rate), excerpts))


def _planted(
    music: CorpusPieces,
    studio: attacks.CopyMaker,
    names: list[str],
    seconds: float,
    count: int,
    seed: int,
    hop: float,
) -> dict[str, Waves]:
    """Copies of training excerpts by attack."""
    copied = music.excerpts(("train",), seconds, count, seed)
    numbers = {excerpt: number for number, excerpt in enumerate(copied)}
    return {
        name: list(
            music.each(
                lambda e, attack=name: studio.make(attack, e, hop, numbers[e]),  # type: ignore[misc]
                studio.possible(name, copied),
            )
        )
        for name in names
    }


def _rows(
    music: CorpusPieces,
    rungs: Sequence[Rung],
    held_out: Waves,
    planted: dict[str, Waves],
    span: float,
    length: float,
) -> Iterator[Row]:
    for rung in rungs:
        common = {"rung": rung.name, "embedding": rung.embedding, "span_s": span, "clip_s": length}
        scores, pieces = _scores(music, rung, held_out)
        null = Null(scores, pieces)
        for attack, copies in planted.items():
            yield common | recall_row(attack, _scores(music, rung, copies)[0], null)


def _scores(music: CorpusPieces, rung: Rung, probes: Waves) -> tuple[np.ndarray, list[str]]:
    """Scores and pieces; a wave that the search cannot judge leaves out its piece."""
    scores: list[float] = []
    pieces: list[str] = []
    if probes:
        found = tried_together(lambda waves: list(rung.score(waves)), [wave for _, wave in probes])
        for (excerpt, _), score in zip(probes, found, strict=True):
            if isinstance(score, Failed):
                music.leave_out(excerpt.piece, score.reason)
            else:
                scores.append(float(score))
                pieces.append(excerpt.piece)
    return np.array(scores), pieces


def recall_row(attack: str, scores: np.ndarray, null: Null) -> Row:
    """The share of planted copies above the null's threshold, or why there is none.

    Example:
        >>> import numpy as np
        >>> null = Null(np.linspace(0, 1, 1000), [f"piece {i % 100}" for i in range(1000)])
        >>> row = recall_row("semitone_up", np.array([0.5, 2.0, 3.0, 4.0]), null)
        >>> row["value"], row["n"]  # three of four copies are above 99 % of real music
        ('0.750000', 4)
    """
    row: Row = {"attack": attack, "n": len(scores)}
    if null.reason or not len(scores):
        return row | {"note": f"n/a: {null.reason or 'no copies are planted'}"}
    found = int((scores > null.threshold).sum())
    low, high = exact_interval(found, len(scores))
    figures = {"value": f"{found / len(scores):.6f}", "ci_low": f"{low:.6f}"}
    return row | figures | {"ci_high": f"{high:.6f}", "threshold": f"{null.threshold:.6f}"}


def write_study(rows: Iterator[Row], output: Path) -> None:
    """Write the rows of a study."""
    write_csv(output, COLUMNS, rows)
