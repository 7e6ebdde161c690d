"""From embeddings and signals to tidy rows: one row per clip set and metric."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import stdtrit

from etude.config.embeddings import why_not
from etude.errors import UserError
from etude.metrics import loudness, signals
from etude.metrics.clip_sets import read_clips
from etude.metrics.distances import UNITS, Yardstick, measure_sets, tidy
from etude.metrics.registry import projection, residual_weight
from etude.metrics.rivals import COLUMNS as RIVAL_COLUMNS
from etude.metrics.rivals import rival_rows
from etude.metrics.samples import ReplicatedFigure, read_about, read_sets, replicate_rows
from etude.metrics.tidy import COLUMNS, REPLICATE_COLUMNS, head
from etude.plugins import plugin_label
from etude.pool import Failed, tried
from etude.storage import read_csv, write_csv

VERSION = 5  # raised when the figures change

PER_CLIP_COLUMNS = ["clip", "embedding", "fad"]
SIGNALS = {
    "et_grid": "share",
    "flatness_db": "dB",
    "level_db": "dB",
    "loudness": "LUFS",
    "loudness_spread": "LU",
}
SIGNAL_COLUMNS = ["clips", "clip", *SIGNALS]
SILENCE = {"level_db": "-120.000000", "loudness": "-120.000000"}

log = logging.getLogger(__name__)


def measure_set(
    name: str, folder: Path, rate: int, own: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Signals of each clip of a set, with those of the user's."""
    for row, wave in read_clips(folder, rate):
        wave = wave.astype(np.float64)
        values = {}
        if len(wave):
            values = signals.evaluate(wave, rate) | loudness.evaluate(wave, rate)
        for metric, measured in (own or {}).items() if len(wave) else ():
            found = tried(partial(_own_figure, measured, rate), wave)
            if isinstance(found, Failed):
                log.warning("%s/%s has no %s: %s", name, row["clip"], metric, found.reason)
            else:
                values[metric] = found
        yield (
            {"clips": name, "clip": row["clip"]}
            | {key: f"{value:.6f}" for key, value in values.items() if math.isfinite(value)}
            | ({} if len(wave) else SILENCE)
        )


def _own_figure(own: Any, rate: int, wave: np.ndarray) -> float:
    return float(own.measure(wave, rate))


def summarise_signals(
    rows: list[dict[str, str]], own: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Means over the clips of each set, and how many are silent.

    Args:
        own: units of the user's metrics.
    """
    units = SIGNALS | dict(own or {})
    names = list(dict.fromkeys(row["clips"] for row in rows))
    for name in names:
        of_set = [row for row in rows if row["clips"] == name]
        for metric, unit in units.items():
            values = [float(row[metric]) for row in of_set if row[metric]]
            if values:
                common = {"clips": name, "metric": metric, "unit": unit, "n": len(values)}
                yield common | _mean(values)
        silent = sum(float(row["level_db"] or -120) < signals.SILENT_DB for row in of_set)
        common = {"clips": name, "metric": "silent", "unit": "clips"}
        yield common | {"value": silent, "n": len(of_set)}


def _mean(values: list[float]) -> dict[str, str]:
    """A mean over clips and its 95 % interval (Student's t)."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return {"value": f"{mean:.6f}"}
    half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1))
    half /= math.sqrt(len(values))
    ends = {"ci_low": f"{mean - half:.6f}", "ci_high": f"{mean + half:.6f}"}
    return {"value": f"{mean:.6f}"} | ends


@dataclass
class EmbeddingScores:
    """What one embedding says of all clip sets.

    Attributes: rows (tidy), replicates, per_clip (each clip's own distance), rivals (rows of
    rivals.csv, where the embedding is gated).
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    replicates: list[dict[str, Any]] = field(default_factory=list)
    per_clip: list[dict[str, Any]] = field(default_factory=list)
    rivals: list[dict[str, Any]] = field(default_factory=list)

    def none(
        self,
        embedding: str,
        sets: Iterable[str],
        rivals: Iterable[str],
        why: str,
        units: Mapping[str, str] = UNITS,
    ) -> None:
        """Rows without a figure, and the reason."""
        common = {"embedding": embedding, "n": 0, "note": why}
        self.rows = [
            {"clips": clips, "metric": metric, "unit": unit} | common
            for clips in sets
            for metric, unit in units.items()
        ]
        why = why if why.startswith("n/a") else f"n/a: {why}"
        self.rivals = [{"rival": rival, "n_rival": 0} | common | {"note": why} for rival in rivals]


def score_embedding(
    embedding: str,
    generated: Path | None,
    baselines: Path | None,
    notes: dict[str, str],
    silent: Mapping[str, int] | None = None,
    rivals: Sequence[str] = (),
    own: Mapping[str, Any] = MappingProxyType({}),
) -> EmbeddingScores:
    """All distances of every clip set to the reference, and to which rivals clips compare.

    Args:
        generated, baselines: .npz of `embed_sets`; None where the embedding cannot run here.
        notes: why a set has no clips, by set.
        silent: how many clips of a set are silent, where any are.
        rivals: sets that generated clips are compared with by this embedding.
        own: distances of the user's, of `open_distances`.
    """
    scores, name = EmbeddingScores(), plugin_label(embedding)
    units = UNITS | {metric: distance.unit for metric, distance in own.items()}
    if generated is None or baselines is None:
        scores.none(name, ["generated"], rivals, f"not run: {why_not(embedding)}", units)
        return scores
    sets = read_sets([generated, baselines])
    reference = sets.pop("reference")
    try:
        yardstick = Yardstick(reference, *projection(embedding), residual_weight(embedding))
    except UserError as error:
        why = notes.get("reference") or error.what if not reference.count else error.what
        scores.none(name, sets, rivals, f"n/a: {why}", units)
        return scores
    yardstick.own = own
    for clips, metric, n, found in measure_sets(yardstick, sets, notes, list(units)):
        about = {"clips": clips, "metric": metric, "embedding": name}
        row: dict[str, Any] = about | {"n": n, "unit": units[metric]} | tidy(found)
        missing = [f"{quiet} clips are silent"] if (quiet := (silent or {}).get(clips)) else []
        if lost := max(len(sets[clips].names) - sets[clips].count, 0):
            missing.append(f"{lost} clips could not be embedded (why: the log of embed_clips)")
        row["note"] = "; ".join(filter(None, (row["note"], *missing)))
        scores.rows.append(row)
        if isinstance(found, ReplicatedFigure):
            scores.replicates += replicate_rows(found, about)
    with suppress(UserError):  # it is said in the rows
        scores.per_clip = [
            {"clip": clip, "embedding": name, "fad": f"{distance:.6f}"}
            for clip, distance in yardstick.outliers(sets["generated"])
        ]
    against = rival_rows(yardstick, sets, notes, rivals)
    scores.rivals = [{"embedding": name} | row for row in against]
    return scores


def write_signals(
    sets: dict[str, Path], rate: int, output: Path, own: Mapping[str, Any] | None = None
) -> None:
    """Signals of every clip of some sets, as a CSV.

    Args:
        own: the user's own metrics by name, each with `measure(wave [samples], rate) -> float`.
    """
    rows = (row for name, folder in sets.items() for row in measure_set(name, folder, rate, own))
    write_csv(output, [*SIGNAL_COLUMNS, *(own or {})], rows)


def _all_weights(row: dict[str, Any], abouts: Mapping[str, str]) -> dict[str, str]:
    """Of a row the weights of its tokens, and those of the embedding that measured."""
    parts = (row["weights"], abouts.get(row.get("embedding", "")))
    return {"weights": "; ".join(filter(None, parts))}


def write_scores(
    experiment: Any,
    names: dict[str, str],
    *,
    embeddings: list[str],
    own: Mapping[str, str],
    distances: Mapping[str, Any] = MappingProxyType({}),
    generated: list[Path],
    baselines: list[Path],
    signals: list[Path],
    baseline_clips: Path,
    packed: Path | None,
    gated: Sequence[str],
    table: Path,
    replicates: Path,
    per_clip: Path,
    rivals: Path,
) -> None:
    """All figures of one experiment, training seed and draw, as tidy rows.

    Args:
        names: the wildcards: experiment and clips (seed-S/draw-D).
        own: units of the user's metrics on clips.
        distances: the user's own between sets, of `open_distances`.
        generated, baselines: one .npz for each embedding that runs, named by it.
        gated: the embeddings by which clips are compared with the system's rivals.
        table, replicates, per_clip, rivals: the CSVs to write.
    """
    made, others = ({path.stem: path for path in paths} for paths in (generated, baselines))
    notes = {p.parent.name: p.read_text().strip() for p in baseline_clips.glob("*/note.txt")}
    common = head(experiment, names["experiment"], names["clips"], packed)
    signal_rows = list(summarise_signals([row for path in signals for row in read_csv(path)], own))
    silent = {row["clips"]: row["value"] for row in signal_rows if row["metric"] == "silent"}
    scores = [
        score_embedding(
            *(e, made.get(plugin_label(e)), others.get(plugin_label(e)), notes, silent),
            experiment.rivals if e in gated else (),
            distances,
        )
        for e in embeddings
    ]
    rows = [
        common | row for row in (*signal_rows, *(row for score in scores for row in score.rows))
    ]
    abouts = {plugin_label(e): read_about(made.get(plugin_label(e))) for e in embeddings}
    write_csv(table, COLUMNS, (row | _all_weights(row, abouts) for row in rows))
    write_csv(replicates, REPLICATE_COLUMNS, (row for s in scores for row in s.replicates))
    write_csv(per_clip, PER_CLIP_COLUMNS, (row for s in scores for row in s.per_clip))
    common = {key: common[key] for key in ("experiment", "system", "train_seed", "draw")}
    write_csv(rivals, RIVAL_COLUMNS, (common | row for s in scores for row in s.rivals))
