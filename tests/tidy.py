"""Tidy CSVs as the metrics write them, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etude.config import Evaluation
from etude.metrics.tidy import COLUMNS, REPLICATE_COLUMNS
from etude.results.summary import RunSummary
from etude.storage import write_csv

DISTANCES = {"generated": 5.0, "real": 6.0, "shuffled": 20.0, "untrained": 30.0, "noise": 90.0}
REPLICATES = 40
PRIMARY = {"metric": "frechet_distance", "embedding": "logmel"}
SETTINGS = Evaluation(embeddings=["logmel", "timbre", "harmony"], primary=PRIMARY)


def row(clips, metric, value, embedding="", **more):
    value = "" if value is None else f"{value:.6f}"
    common = {"clips": clips, "metric": metric, "embedding": embedding, "value": value, "n": "32"}
    return common | {"unit": "distance", "note": ""} | more


def rows_of(distances, harmony=0.9, silent=0, width=1.0, **more):
    """One seed and draw's rows: distances with an interval of `width` to each side, signals."""
    rows = []
    for clips, value in distances.items():
        low, high = ("", "") if value is None else (f"{value - width:.6f}", f"{value + width:.6f}")
        note = "" if value is not None else "n/a: no held-out music"
        rows.append(row(
            clips, "frechet_distance", value, "logmel", ci_low=low, ci_high=high, note=note, **more
        ))  # fmt: skip
        own = harmony if clips == "generated" else 0.95
        rows.append(row(clips, "et_grid", own, unit="share", **more))
        rows.append(row(clips, "silent", silent if clips == "generated" else 0, **more))
    why = "not run: needs weights"
    return [*rows, row("generated", "frechet_distance", None, "clap-laion-audio", note=why)]


def head(experiment: str, seed: int, draw: int | str) -> dict:
    return {
        "experiment": experiment, "system": "audiolm", "reference": "c test", "split": "test",
        "train_seed": seed, "draw": draw, "config_hash": f"c-{experiment}", "data_hash": "d",
    }  # fmt: skip


def write_training(results: Path, experiment: str, rows, seed=0, replicates=None) -> Path:
    """results/metrics/{experiment}/seed-S/perplexity.csv: of a training, whatever is drawn."""
    table = results / "metrics" / experiment / f"seed-{seed}" / "perplexity.csv"
    write_csv(table, COLUMNS, (head(experiment, seed, "") | r for r in rows))
    if replicates is not None:
        known = {"metric": "perplexity", "clips": "generated"}
        lines = (known | {"replicate": i, "value": f"{v:.6f}"} for i, v in enumerate(replicates))
        write_csv(table.with_name("perplexity_replicates.csv"), REPLICATE_COLUMNS, lines)
    return table


def write_cell(results: Path, experiment: str, rows, seed=0, draw=0) -> Path:
    """results/metrics/{experiment}/seed-S/draw-D/fad.csv; gives back the folder."""
    folder = results / "metrics" / experiment / f"seed-{seed}" / f"draw-{draw}"
    write_csv(folder / "fad.csv", COLUMNS, (head(experiment, seed, draw) | r for r in rows))
    return folder


def two_experiments(results: Path, seeds=3, draws=2, gap=-3.0) -> None:
    """Experiments `a` and `b` of several trainings, `gap` apart."""
    generator = np.random.default_rng(0)
    for seed in range(seeds):
        for draw in range(draws):
            for name, shift in (("a", gap), ("b", 0.0)):
                value = 10 + shift + 0.5 * generator.standard_normal()
                rows = rows_of(DISTANCES | {"generated": value})
                write_cell(results, name, rows, seed, draw)


def run(results: Path, gated=("e", "a", "b"), settings=None, **more) -> RunSummary:
    """All that lies in a folder of results."""
    return RunSummary(
        tables=sorted(results.glob("metrics/*/seed-*/draw-*/fad.csv")),
        replicates=sorted(results.glob("metrics/*/seed-*/perplexity_replicates.csv")),
        rivals=sorted(results.glob("metrics/*/seed-*/draw-*/rivals.csv")),
        settings=settings or SETTINGS,
        gated=frozenset(gated),
        hashes={"code_hash": "k", "env_hash": "v"},
        **more,
    )


# ------------------------------------------------------------------------------------- the gate

RIVALS = ("experiment", "system", "train_seed", "draw", "embedding", "rival", "n", "n_rival",
          "value", "ci_low", "ci_high", "note")  # fmt: skip


def rival(name, value, embedding="harmony", half=1.0, n=64, note=""):
    """A row of rivals.csv: below 0 where the clips are nearer to real music than the rival."""
    known = {"rival": name, "embedding": embedding, "n": n, "n_rival": n, "note": note}
    if value is None:
        return known | {"value": "", "ci_low": "", "ci_high": ""}
    ends = {"ci_low": f"{value - half:.6f}", "ci_high": f"{value + half:.6f}"}
    return known | {"value": f"{value:.6f}"} | ends


def beaten(names, **more):
    """Every rival clearly farther, under both embeddings."""
    return [rival(name, -5.0, e, **more) for name in names for e in ("timbre", "harmony")]


def write_rivals(results: Path, experiment: str, rows, seed=0, draw=0) -> Path:
    """results/metrics/{experiment}/seed-S/draw-D/rivals.csv."""
    path = results / "metrics" / experiment / f"seed-{seed}" / f"draw-{draw}" / "rivals.csv"
    common = {k: v for k, v in head(experiment, seed, draw).items() if k in RIVALS}
    write_csv(path, RIVALS, (common | r for r in rows))
    return path
