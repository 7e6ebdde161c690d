"""The gate of the default configuration, for three training seeds."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from record import record, table
from workspace import Workspace

pytestmark = pytest.mark.proof


def test_the_gate_holds_for_three_training_seeds(tmp_path):
    workspace = Workspace(tmp_path)
    seeds = {"seeds": {"train": [0, 1, 2], "generate": [0]}}
    three = workspace.config("three", {"experiments": {"audiolm": seeds}})
    workspace.run("results/fad.txt", configs=[three])
    rows, ratios = [], []
    for path in sorted(Path(tmp_path, "results/metrics/audiolm").glob("seed-*/draw-*/fad.csv")):
        figures = read(path)
        ratio = figures["generated"] / figures["real"]
        ratios.append(ratio)
        seed, draw = re.findall(r"(?:seed|draw)-(\d+)", str(path))
        rows.append(
            [
                seed,
                draw,
                *(f"{figures[k]:.2f}" for k in NAMES),
                f"{ratio:.2f}",
                f"{figures['et_grid']:.3f}",
            ]
        )
    gate = workspace.text("results/fad.txt").splitlines()[-1]
    columns = ["training seed", "draw", *NAMES, "generated / real", "et_grid"]
    record(
        "The gate over seeds",
        "pytest benchmarks/bench_gate.py -m proof",
        [*table(columns, rows), "", gate],
    )
    assert gate.startswith("gate: holds")


NAMES = ["generated", "real", "reconstruction", "shuffled", "untrained", "noise"]


def read(path: Path) -> dict[str, float]:
    """Distances by clip set, and the generated clips' et_grid."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["value"]]
    figures = {
        row["clips"]: float(row["value"]) for row in rows if row["metric"] == "frechet_distance"
    }
    harmony = next(r for r in rows if (r["clips"], r["metric"]) == ("generated", "et_grid"))
    return figures | {"et_grid": float(harmony["value"])}
