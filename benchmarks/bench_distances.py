"""FAD-infinity beside fadtk's arithmetic, and the bias of the Fréchet distance at few rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg

from etude.metrics.frechet import POINTS, Reference, fad_infinity, statistics

pytestmark = pytest.mark.proof

COMMAND = "pytest benchmarks/bench_distances.py -m proof"
DIMENSIONS, ROWS, REFERENCE_ROWS, FEWEST = 512, 2000, 5000, 500
SIZES = (50, 100, 200, 500, 1000, 5000, 20000)
# Measured beforehand by other code, to two digits.
EXPECTED = {
    128: (0.39, 0.18, 0.080, 0.033, 0.017, 0.004, 0.002),
    512: (1.02, 0.69, 0.38, 0.13, 0.064, 0.015, 0.006),
}


def square_root_arithmetic(mean1, cov1, mean2, cov2):
    """A distance as fadtk computes each of its points: sqrtm and eig with inv, both."""
    product = cov1 @ cov2
    linalg.sqrtm(product)
    values, vectors = linalg.eig(product)
    root = (vectors * np.sqrt(values.astype(complex))) @ linalg.inv(vectors)
    shift = mean1 - mean2
    return float(shift @ shift + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root).real)


def fadtk_style(mean, covariance, rows):
    """25 points of FAD-infinity as fadtk draws them: rows, with replacement."""
    generator = np.random.default_rng(0)
    counts = np.linspace(FEWEST, len(rows), POINTS).astype(int)
    values = []
    for count in counts:
        chosen = rows[generator.choice(len(rows), count)]
        values.append(square_root_arithmetic(mean, covariance, *statistics(chosen)))
    return np.polyfit(1 / counts, values, 1)[1]


def clock() -> dict[str, float]:
    """Seconds of both, one after the other in this process."""
    generator = np.random.default_rng(0)
    mix = generator.standard_normal((DIMENSIONS, DIMENSIONS)) / 20
    reference = generator.standard_normal((REFERENCE_ROWS, DIMENSIONS)) @ mix
    rows = generator.standard_normal((ROWS, DIMENSIONS)) @ mix
    ready, stats = Reference(reference), statistics(reference)
    assert ready.distance(rows) == pytest.approx(
        square_root_arithmetic(*stats, *statistics(rows)), rel=1e-9
    )
    ours = []
    for _ in range(5):
        start = time.perf_counter()
        fad_infinity(ready.prepare(rows), np.arange(ROWS))
        ours.append(time.perf_counter() - start)
    start = time.perf_counter()
    fadtk_style(*stats, rows)
    return {"ours": min(ours), "theirs": time.perf_counter() - start}


def test_fad_infinity_is_fast():
    from record import record, table

    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    home = str(Path(__file__).resolve().parents[1])
    alone = os.environ | dict.fromkeys(threads, "1") | {"PYTHONPATH": home}
    done = subprocess.run(
        [sys.executable, __file__], env=alone, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    ratio = found["theirs"] / found["ours"]
    lines = [
        f"{POINTS} points of {FEWEST} to {ROWS} rows, d = {DIMENSIONS}, one thread; the reference",
        f"({REFERENCE_ROWS} rows) made ready before, as fadtk's statistics are. Ours best of 5.",
        "",
        *table(["", "seconds"], [
            ["Étude", f"{found['ours']:.2f}"],
            ["fadtk's arithmetic (sqrtm, eig and inv at each point)", f"{found['theirs']:.1f}"],
            ["ratio", f"{ratio:.1f}"],
        ]),
    ]  # fmt: skip
    record("FAD-infinity", COMMAND, lines)
    assert found["ours"] < 1
    assert ratio >= 12


def test_bias_of_few_rows():
    """Equal Gaussians of total variance 1, spectrum falling as exp(-6 k / d)."""
    from record import record, table

    cells, misses = [], []
    for d, expected in EXPECTED.items():
        generator = np.random.default_rng(d)
        spectrum = np.exp(-6 * np.arange(d) / d)
        scale = np.sqrt(spectrum / spectrum.sum())
        reference = Reference(generator.standard_normal((20000, d)) * scale)
        plain, infinite = [], []
        for n in SIZES:
            draws = max(1, min(8, 4000 // n))
            found = [
                _both(reference, generator.standard_normal((n, d)) * scale) for _ in range(draws)
            ]
            plain.append(float(np.mean([x for x, _ in found])))
            infinite.append(float(np.mean([x for _, x in found])))
        cells.append([f"FAD, d = {d}", *(f"{x:.3f}" for x in plain)])
        cells.append([f"FAD-infinity, d = {d}", *(f"{x:+.4f}" for x in infinite)])
        # Half of the last digit that was printed, or a tenth.
        misses += [abs(x - e) > max(0.1 * e, 0.0006) for x, e in zip(plain, expected, strict=True)]
        enough = [
            abs(i) < 0.25 * p
            for n, p, i in zip(SIZES, plain, infinite, strict=True)
            if n >= 4 * d and n < 20000
        ]
        misses += [not x for x in enough]
    lines = [
        "True distance 0: two samples of one Gaussian, total variance 1, eigenvalues falling as",
        "exp(-6 k / d), against a reference of 20,000 rows (whose own bias stays in both).",
        "",
        *table(["n", *map(str, SIZES)], cells),
    ]
    record("Bias of the Fréchet distance", COMMAND, lines)
    assert not any(misses)


def _both(reference: Reference, rows: np.ndarray) -> tuple[float, float]:
    distances = reference.prepare(rows)
    return distances(np.arange(len(rows))), fad_infinity(distances, np.arange(len(rows))).value


if __name__ == "__main__":
    print(json.dumps(clock()))
