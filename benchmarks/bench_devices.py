"""Two CPU processes against one at an equal global batch: the same loss curve, and the speed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from packed import QUANTIZERS, make_packed
from record import record, table

from etude.config.systems.audiolm import AudioLm
from etude.storage import read_csv
from etude.training.launch import launch

pytestmark = pytest.mark.proof
STEPS, BATCH, TOLERANCE = 60, 16, 1e-3
RUNS = {  # name -> processes, threads of all together
    "one process, one thread": (1, 1),
    "one process, two threads": (1, 2),
    "two processes of one thread": (2, 2),
}


def train(packed: Path, folder: Path, processes: int, threads: int) -> tuple[list[float], float]:
    """Losses of the coarse stage of the default, as they are logged, and seconds of a step."""
    training = {
        "steps": STEPS, "batch_size": BATCH, "validate_every": 20, "save_every": 1000,
        "devices": processes,
    }  # fmt: skip
    # Processes drop out other units: without dropout the gradients are the same sum.
    stages = {"coarse": {"network": {"dropout": 0.0}, "training": training}}
    wanted = AudioLm(system="audiolm", corpus="c", stages=stages)
    given = {
        "experiment": wanted.stage_params("coarse"), "stage": "coarse", "seed": 0,
        "packed": str(packed), "folder": str(folder / "e/coarse/seed-0"),
        "state_root": str(folder / "state"),
    }  # fmt: skip
    assert not launch(given, processes, threads, lambda: False)
    history = list(read_csv(folder / "e/coarse/seed-0/history.csv"))
    losses = [
        float(row[key]) for row in history for key in ("train_loss", "valid_loss") if row[key]
    ]
    first, *_, last = read_csv(folder / "e/coarse/seed-0/timings.csv")
    seconds = float(last["seconds"]) - float(first["seconds"])
    return losses, seconds / (int(last["step"]) - int(first["step"]))


def test_two_processes_learn_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (os.cpu_count() or 1) >= 2
    sizes = {"codebook_size": 256, "semantic_vocabulary": 128}
    packed = make_packed(tmp_path / "packed", train=256, semantic=100, frames=75, **sizes)
    curves, rows = {}, []
    for number, (name, (processes, threads)) in enumerate(RUNS.items()):
        curves[name], seconds = train(packed, tmp_path / str(number), processes, threads)
        alone = next(iter(curves.values()))
        apart = max(abs(a - b) / a for a, b in zip(alone, curves[name], strict=True))
        speed = BATCH * 75 * QUANTIZERS / 2 / seconds  # two of the quantizers are the stage's
        first = rows[0][1] if rows else seconds
        rows.append([name, seconds, speed, first / seconds, apart])
    lines = [
        (
            f"The default's coarse stage, a global batch of {BATCH}, {STEPS} steps, no dropout. "
            f"{len(alone)} losses of training and validation, from {alone[0]:.3f} to "
            f"{alone[-1]:.3f}; how far they may lie from those of one process: {TOLERANCE:.0e} of "
            "their value. They are compared as they are written, in six digits."
        ),
        "",
        *table(
            ["", "s a step", "predicted tokens/s", "faster", "largest difference of a loss"],
            [[n, f"{s:.3f}", f"{v:.0f}", f"{f:.2f}", f"{a:.1e}"] for n, s, v, f, a in rows],
        ),
    ]
    record("Processes that share a batch", "pytest benchmarks/bench_devices.py -m proof", lines)
    assert alone[-1] < alone[0]
    assert max(row[-1] for row in rows) < TOLERANCE
