"""From embeddings and signals to tidy rows: one row per clip set and metric."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import UserError
from etude.metrics import signals
from etude.metrics.clip_sets import read_clips
from etude.metrics.frechet import Projection, evaluate
from etude.metrics.registry import embedding as find_embedding
from etude.metrics.registry import why_not
from etude.own import label
from etude.storage import read_csv, read_json, write_csv

VERSION = 1  # raised when the figures change

COLUMNS = [
    "experiment", "system", "clips", "metric", "embedding", "reference", "split", "value",
    "ci_low", "ci_high", "n", "unit", "train_seed", "draw", "config_hash", "data_hash", "note",
]  # fmt: skip
DRAWS = 40
SIGNAL_COLUMNS = ["clips", "clip", "et_grid", "flatness_db", "level_db"]


def measure_set(
    name: str, folder: Path, rate: int, own: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Signals of each clip of a set, with those of the user's own."""
    for row, wave in read_clips(folder, rate):
        wave = wave.astype(np.float64)
        values = signals.evaluate(wave, rate) if len(wave) else {}
        for metric, measured in (own or {}).items() if len(wave) else ():
            values[metric] = float(measured.measure(wave, rate))
        yield (
            {"clips": name, "clip": row["clip"]}
            | {key: f"{value:.6f}" for key, value in values.items() if math.isfinite(value)}
            | ({} if len(wave) else {"level_db": "-120.000000"})
        )


def summarise_signals(
    rows: list[dict[str, str]], own: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Means over the clips of each set, and how many are silent.

    Args:
        own: units of the user's own metrics.
    """
    units = {"et_grid": "share", "flatness_db": "dB", "level_db": "dB"} | dict(own or {})
    names = list(dict.fromkeys(row["clips"] for row in rows))
    for name in names:
        of_set = [row for row in rows if row["clips"] == name]
        for metric, unit in units.items():
            values = [float(row[metric]) for row in of_set if row[metric]]
            if values:
                yield {
                    "clips": name,
                    "metric": metric,
                    "value": f"{sum(values) / len(values):.6f}",
                    "n": len(values),
                    "unit": unit,
                }
        silent = sum(float(row["level_db"] or -120) < signals.SILENT_DB for row in of_set)
        common = {"clips": name, "metric": "silent", "unit": "clips"}
        yield common | {"value": silent, "n": len(of_set)}


def score_embedding(
    embedding: str, generated: Path | None, baselines: Path | None, notes: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The Fréchet distance of every clip set to the reference, all at the same number of clips.

    Args:
        generated, baselines: .npz of `embed_sets`; None where the embedding cannot run here.
        notes: why a set has no clips, by set.
    """
    common = {"metric": "frechet_distance", "embedding": label(embedding), "unit": "distance"}
    if generated is None or baselines is None:
        yield common | {"clips": "generated", "note": f"not run: {why_not(embedding)}"}
        return
    sets = read_sets([generated, baselines])
    reference = sets.pop("reference").windows
    model = find_embedding(embedding)
    enough = len(reference) > model.components
    project = Projection(reference, model.components, model.deviation_floor) if enough else None
    n = min((s.count for s in sets.values() if s.count), default=0)
    for name, clips in sets.items():
        row = common | {"clips": name, "n": min(n, clips.count)}
        reason = _impossible(
            clips.windows, reference, notes.get(name, ""), notes.get("reference", "")
        )
        if project is None or reason:
            why = reason or f"the reference has only {len(reference)} windows"
            yield row | {"note": f"n/a: {why}"}
            continue
        try:
            yield row | distance_at(project, reference, clips, n)
        except UserError as error:
            yield row | {"note": f"n/a: {error.what}"}


@dataclass
class Clips:
    """The embeddings of a clip set: windows [n, d] and the clip of each window [n]."""

    windows: np.ndarray
    clips: np.ndarray

    @property
    def count(self) -> int:
        """How many clips have windows."""
        return len(np.unique(self.clips))

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """The windows of n clips, drawn without replacement."""
        chosen = generator.choice(np.unique(self.clips), n, replace=False)
        return self.windows[np.isin(self.clips, chosen)]


def read_sets(paths: list[Path]) -> dict[str, Clips]:
    """The clip sets of some .npz of `embed_sets`."""
    sets = {}
    for path in paths:
        with np.load(path) as arrays:
            for name in (n for n in arrays.files if "/" not in n):
                sets[name] = Clips(arrays[name], arrays[f"{name}/clips"])
    return sets


def distance_at(project: Projection, reference: np.ndarray, clips: Clips, n: int) -> dict[str, Any]:
    """The distance of n clips; of a larger set, the mean over draws of n and their 95 % range.

    Distances of few clips are biased upwards and vary much from draw to draw, so only sets of
    one size may be compared, and one draw of real music is no floor.
    """
    if clips.count == n:
        values = [evaluate(project(reference), project(clips.windows))["frechet_distance"]]
        return {"value": f"{values[0]:.6f}"}
    generator = np.random.default_rng(0)
    values = [
        evaluate(project(reference), project(clips.draw(n, generator)))["frechet_distance"]
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(values, [2.5, 97.5])
    return {
        "value": f"{np.mean(values):.6f}",
        "ci_low": f"{low:.6f}",
        "ci_high": f"{high:.6f}",
        "note": f"mean of {DRAWS} draws of {n} from {clips.count} clips",
    }


def _impossible(rows: np.ndarray, reference: np.ndarray, note: str, reference_note: str) -> str:
    """Why a distance cannot be had, or nothing."""
    if not len(reference):
        return reference_note or "there is no held-out music"
    if not len(rows):
        return note or "no clips"
    if len(rows) < 2:
        return "a single window of audio has no covariance; make more or longer clips"
    if not np.isfinite(rows).all():
        return "the embeddings are not finite"
    return ""


def write_signals(
    sets: dict[str, Path], rate: int, output: Path, own: Mapping[str, Any] | None = None
) -> None:
    """Signals of every clip of some sets, as a CSV.

    Args:
        own: the user's own metrics by name, each with `measure(wave [samples], rate) -> float`.
    """
    rows = (row for name, folder in sets.items() for row in measure_set(name, folder, rate, own))
    write_csv(output, [*SIGNAL_COLUMNS, *(own or {})], rows)


def config_hash(experiment: Any) -> str:
    """A short hash of an experiment's settings; where its files lie is no setting."""
    values = experiment.model_dump(mode="json", exclude={"clips": True, "generate": {"prime"}})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def write_scores(
    experiment: Any,
    names: dict[str, str],
    *,
    embeddings: list[str],
    own: Mapping[str, str],
    generated: list[Path],
    baselines: list[Path],
    signals: list[Path],
    baseline_clips: Path,
    packed: Path | None,
    output: Path,
) -> None:
    """All figures of one experiment, training seed and draw, as tidy rows.

    Args:
        names: the wildcards: experiment and clips (seed-S/draw-D).
        own: units of the user's own metrics on clips.
        generated, baselines: one .npz for each embedding that runs, named by it.
    """
    made, others = ({path.stem: path for path in paths} for paths in (generated, baselines))
    notes = {p.parent.name: p.read_text().strip() for p in baseline_clips.glob("*/note.txt")}
    seed, draw = (part.split("-")[1] for part in names["clips"].split("/"))
    data_hash = read_json(packed / "info.json")["data_hash"] if packed else ""
    common = {
        "experiment": names["experiment"],
        "system": experiment.system,
        "reference": f"{experiment.corpus} test",
        "split": "test",
        "train_seed": seed,
        "draw": draw,
        "config_hash": config_hash(experiment),
        "data_hash": data_hash,
    }
    rows = list(summarise_signals([row for path in signals for row in read_csv(path)], own))
    for embedding in embeddings:
        name = label(embedding)
        rows += score_embedding(embedding, made.get(name), others.get(name), notes)
    write_csv(output, COLUMNS, (common | row for row in rows))
