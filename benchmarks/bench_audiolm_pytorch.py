"""Étude's AudioLM beside audiolm-pytorch 2.4.0 at equal size; tokens beside waveforms.

pytest benchmarks/bench_audiolm_pytorch.py -m proof

The library runs in the environment of envs/audiolm.yaml, made here with tests/conda's stand-in for
conda; each figure is measured in a process of its own, with one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from record import record, table
from workspace import ROOT, SMOKE, Workspace

pytestmark = pytest.mark.proof
COMMAND = "pytest benchmarks/bench_audiolm_pytorch.py -m proof"
# Smaller figures, to try the script itself: ETUDE_BENCH_SMALL=1.
SMALL = bool(os.environ.get("ETUDE_BENCH_SMALL"))
SECONDS = "2" if SMALL else "8"  # whole windows, so that both draw as many tokens
CLIPS = "1"
STEPS = "8" if SMALL else "40"
NAMES = {"etude": "Étude's network", "library": "audiolm-pytorch's"}


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """The interpreter of an environment made from envs/audiolm.yaml and its post-deploy script."""
    folder = tmp_path_factory.mktemp("library") / "env"
    file = ROOT / "envs" / "audiolm.yaml"
    create = ["env", "create", "--file", str(file), "--prefix", str(folder)]
    subprocess.run([sys.executable, str(ROOT / "tests/conda/bin/conda"), *create], check=True)
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    script = ["bash", str(file.with_suffix(".post-deploy.sh"))]
    subprocess.run(script, check=True, env=os.environ | {"PATH": path})
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """Tokens of 24 chorales by the embedded tokenizers."""
    workspace = Workspace(tmp_path_factory.mktemp("tokens"))
    target = "results/packed/chorales/embedded"
    workspace.run(target, configs=[SMOKE])
    return workspace.folder / target


def measure(python: str, what: str, packed: Path, *arguments: str) -> dict:
    command = [python, str(ROOT / "benchmarks/measure_audiolm_pytorch.py"), what, str(packed)]
    ours = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [*command, *arguments], env=os.environ | ours,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_training_at_equal_steps_and_tokens(python, packed):
    rows = []
    for backend, name in NAMES.items():
        found = measure(python, "training", packed, backend, STEPS)
        losses = [f"{loss:.2f}" for loss in found["losses"].values()]
        rows.append(
            [
                name, f"{found['parameters'] / 1e6:.2f} M", *losses, f"{found['seconds']:.0f}",
                f"{found['positions'] / found['seconds']:.0f}",
                f"{found['peak_mb'] - found['imports_mb']:.0f}",
            ]
        )  # fmt: skip
    steps = list(found["losses"])
    lines = [
        (
            "The coarse stage, dim 256, 6 layers, 4 heads of 64, trained by Étude's loop on the "
            f"same tokens in the same order ({found['positions']} positions, batches of 8), by the "
            "seed's optimiser (Adam, 3e-4, no warm-up). The loss is that of the coarse codes of 32 "
            "validation segments, in nats, counted alike for both; the library starts from logits "
            "of a far larger scale. One thread."
        ),
        "",
        *table(
            ["", "parameters", *(f"loss at step {step}" for step in steps), "seconds",
             "positions/s", "memory over imports, MB"],
            rows,
        ),
    ]  # fmt: skip
    record("audiolm-pytorch: training", COMMAND, lines)
    assert float(rows[0][1 + len(steps)]) < float(rows[1][1 + len(steps)])


def test_sampling_beside_its_own_generate(python, packed):
    found = {
        "Étude's network, Étude's sampling": measure(
            python, "sampling", packed, "etude", SECONDS, CLIPS
        ),
        "audiolm-pytorch's network, Étude's sampling": measure(
            python, "sampling", packed, "library", SECONDS, CLIPS
        ),
        "audiolm-pytorch's network, its own generate": measure(
            python, "generate", packed, SECONDS, CLIPS
        ),
    }
    *_, theirs = found.values()
    rows = [
        [
            name, f["tokens"], f"{f['seconds']:.1f}", f"{theirs['seconds'] / f['seconds']:.1f}",
            f"{f['peak_mb'] - f['imports_mb']:.0f}",
        ]
        for name, f in found.items()
    ]  # fmt: skip
    lines = [
        (
            f"All three stages, dim 256, 6 layers, for {SECONDS} s of music in the shape of the "
            "embedded tokenizers (128 semantic tokens at 50 Hz; 2 + 2 quantizers of 256 at 37.5 "
            "Hz), a tenth of the logits kept, caches on in all, one clip, one thread. Étude "
            "samples windows of 2 s that go on from each other, the library all at once."
        ),
        "",
        *table(["", "tokens", "seconds", "times faster", "memory over imports, MB"], rows),
    ]
    record("audiolm-pytorch: sampling", COMMAND, lines)
    assert len({row[1] for row in rows}) == 1
    assert SMALL or float(rows[0][3]) >= 5


def test_tokens_beside_waveforms(python, packed):
    loading = measure(python, "loading", packed, "50")["seconds"]
    rows = []
    for size in ("tiny", "full"):
        for dim, depth in (("64", "2"), ("256", "6")):
            steps = "1" if SMALL else "4"
            found = measure(python, "encoding", packed, size, dim, depth, steps)
            tokens = found["tokens"] + loading
            rows.append(
                [size, f"dim {dim}, {depth} layers", f"{found['waves']:.2f}", f"{tokens:.2f}",
                 f"{found['waves'] / tokens:.1f}"]
            )  # fmt: skip
    lines = [
        (
            "A step of the library's coarse stage (4 segments of 2 s: 99 semantic tokens, 3 x 150 "
            "coarse ones) as the seed trained it, from waveforms that HuBERT and EnCodec encode "
            "anew each time, and from pre-made tokens, their reading included. Encoders are of "
            "transformers' classes with random weights: tiny (64 wide, 4 filters) and of "
            "full size (HuBERT base, EnCodec 24 kHz). What is saved is the encoders' time, so the "
            "ratio falls as the network grows. One thread."
        ),
        "",
        *table(["encoders", "network", "waveforms, s", "tokens, s", "ratio"], rows),
    ]
    record("audiolm-pytorch: tokens beside waveforms", COMMAND, lines)
    assert all(float(row[4]) > 0.9 for row in rows)
    assert float(rows[2][4]) >= 10
