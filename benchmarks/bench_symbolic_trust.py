"""Small symbolic models beat a Kneser-Ney 5-gram and shuffled tokens: perplexity and KL metrics.

Three training seeds on the chorales, the same data and transpositions for all; what is compared are
the tables that the workflow writes. Differences are model less baseline, replicate by replicate
(replicates of a number draw the same pieces), pooled over the seeds: below 0 the model is better.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from record import record, table
from workspace import Workspace

pytestmark = pytest.mark.proof

NAME = "trust"
KL = ("pitch_class_kl", "duration_kl", "harmony_kl")
SEEDS_KL = tuple(name.replace("_kl", "_distance_kl") for name in KL)
BASELINES = ("ngram", "shuffled")
LEAST_CORE_SECONDS = 150
COMMAND = "pytest benchmarks/bench_symbolic_trust.py -m proof"


def settings(steps: int, seeds: list[int], limit: int, clips: int) -> dict:
    """One experiment; `limit` chorales."""
    network = {"kind": "llama", "layers": 4, "heads": 4, "dim": 192}
    training = {
        "steps": steps, "batch_size": 16, "learning_rate": 2e-3, "warmup_steps": steps // 10,
        "use": "best", "validate_every": max(steps // 6, 1),
    }  # fmt: skip
    return {
        "run": [NAME],
        "corpora": {"chorales": {"source": "music21", "limit": limit}},
        "tokens": {NAME: {"tokenizer": "remi", "window": 256, "stride": 128, "shortest": 192,
                          "transpositions": [-3, -2, -1, 0, 1, 2, 3]}},
        "experiments": {NAME: {
            "system": "symbolic_lm", "corpus": "chorales", "tokens": NAME,
            "stages": {"lm": {"network": network, "training": training}},
            "generate": {"clips": clips, "seconds": 8, "new_tokens": 384},
            "seeds": {"train": seeds, "generate": [0]},
        }},
    }  # fmt: skip


def run(workspace: Workspace, seeds: list[int], **how: int) -> Path:
    """The tables of an experiment; returns the folder of results."""
    config = workspace.config(NAME, settings(seeds=seeds, **how))
    targets = [f"results/metrics/{NAME}/seed-{s}/draw-0/symbolic.csv" for s in seeds]
    targets += [f"results/metrics/{NAME}/seed-{s}/perplexity.csv" for s in seeds]
    workspace.run(*targets, configs=[config])
    return workspace.folder / "results"


def test_models_beat_the_ngram_and_shuffled_tokens(tmp_path):
    seeds = [0, 1, 2]
    results = run(Workspace(tmp_path), seeds, steps=450, limit=353, clips=64)
    spent = [core_seconds(results, NAME, seed) for seed in seeds]
    rows, wins = compare(results, NAME, seeds)
    lines = table(["figure", "baseline", "model", "of baseline", "difference (95 %)"], rows)
    better = {b: sum(wins[metric, b] < 0 for metric in KL) for b in BASELINES}
    lines += [
        "",
        f"Core-seconds of training: {', '.join(f'{s:.0f}' for s in spent)}.",
        "Of the three KL metrics the model is the better, its interval clear of 0, in "
        + ", ".join(f"{count} against {name}" for name, count in better.items())
        + " (asked: 2 each). Shuffled tokens keep the training music's pitches and durations.",
    ]
    record("Symbolic models against a Kneser-Ney 5-gram", COMMAND, lines)
    assert min(spent) >= LEAST_CORE_SECONDS
    for baseline in BASELINES:
        assert wins["perplexity", baseline] < 0, "the interval of the difference reaches 0"
        assert better[baseline] >= 2, baseline


def compare(
    results: Path, name: str, seeds: list[int]
) -> tuple[list[list[object]], dict[tuple[str, str], float]]:
    """Rows for the page; per figure and baseline the upper end of the difference's interval."""
    rows: list[list[object]] = []
    highs = {}
    for metric in ("perplexity", *KL, *SEEDS_KL):
        values, drawn = {}, {}
        for clips in ("generated", *BASELINES):
            values[clips] = [value(results, name, seed, metric, clips) for seed in seeds]
            drawn[clips] = [replicates(results, name, seed, metric, clips) for seed in seeds]
        for baseline in BASELINES:
            pairs = zip(drawn["generated"], drawn[baseline], strict=True)
            pooled = [m[r] - b[r] for m, b in pairs for r in m.keys() & b.keys()]
            low, high = np.percentile(pooled, [2.5, 97.5])
            highs[metric, baseline] = float(high)
            each = ", ".join(f"{v:.3f}" for v in values["generated"])
            mean = f"{np.mean(values[baseline]):.3f}"
            rows.append([metric, baseline, each, mean, f"{low:.3f} to {high:.3f}"])
    return rows, highs


def files(results: Path, name: str, seed: int, metric: str, kind: str) -> Path:
    folder = results / "metrics" / name / f"seed-{seed}"
    if metric == "perplexity":
        return folder / f"perplexity{kind}.csv"
    return folder / "draw-0" / f"symbolic{kind}.csv"


def rows_of(path: Path, metric: str, clips: str) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (row["metric"], row["clips"]) == (metric, clips):
                yield row


def value(results: Path, name: str, seed: int, metric: str, clips: str) -> float:
    (row,) = rows_of(files(results, name, seed, metric, ""), metric, clips)
    return float(row["value"])


def replicates(results: Path, name: str, seed: int, metric: str, clips: str) -> dict[int, float]:
    path = files(results, name, seed, metric, "_replicates")
    return {int(row["replicate"]): float(row["value"]) for row in rows_of(path, metric, clips)}


def core_seconds(results: Path, name: str, seed: int) -> float:
    """CPU time of a training, as Snakemake measured it."""
    path = results / "benchmarks" / "train_stage" / name / "lm" / f"seed-{seed}.tsv"
    with path.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    return float(row["cpu_time"])
