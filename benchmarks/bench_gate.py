"""The gate of the default configuration, for three training seeds."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from record import record, table
from workspace import Workspace

pytestmark = pytest.mark.proof

COLUMNS = ["experiment", "training seed", "draw", "embedding", "rival", "difference of KAD"]


def test_the_gate_holds_for_three_training_seeds(tmp_path):
    workspace = Workspace(tmp_path)
    seeds = {"seeds": {"train": [0, 1, 2], "generate": [0]}}
    three = workspace.config("three", {"experiments": {"audiolm": seeds}})
    workspace.run("results/fad.txt", configs=[three])
    rows = []
    for path in sorted(Path(tmp_path, "results/metrics").glob("*/seed-*/draw-*/rivals.csv")):
        seed, draw = re.findall(r"(?:seed|draw)-(\d+)", str(path))
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                between = f"{row['value']} [{row['ci_low']}, {row['ci_high']}]"
                told = between if row["value"] else row["note"]
                rows.append([row["experiment"], seed, draw, row["embedding"], row["rival"], told])
    gate = workspace.text("results/fad.txt").splitlines()[-1]
    record(
        "The gate over seeds",
        "pytest benchmarks/bench_gate.py -m proof",
        [*table(COLUMNS, rows), "", gate],
    )
    assert gate.startswith("gate: holds")
