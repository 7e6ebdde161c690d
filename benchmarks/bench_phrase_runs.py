"""What finished runs of phrase_ldm say: codec, pieces and rivals, seed by seed, into the docs.

    snakemake --cores 2 --configfile config/presets/phrase_chorales.yaml
    python benchmarks/bench_phrase_runs.py FOLDER EXPERIMENT

FOLDER has the run's results/. Nothing is computed: all figures are those of the run's own tables.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

home = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(home), str(home / "benchmarks")]
# ruff: noqa: E402
from record import record, table

from etude.storage import read_csv, read_json

FIGURES = ("symbolic_frechet", "chord_share", "section_recurrence", "bar_leap")
SETS = {
    "generated": "generated",
    "reference": "real",
    "reconstruction": "reconstruction",
    "shuffled_latents": "shuffled latents",
    "gaussian_latents": "gaussian latents",
    "untrained": "untrained",
    "independent_bars": "real bars in another order",
    "ngram": "n-gram",
    "random_notes": "random notes",
    "one_chord": "one chord",
}
COMMAND = "python benchmarks/bench_phrase_runs.py FOLDER EXPERIMENT"


def seconds(results: Path, name: str, seed: str) -> float:
    """CPU seconds of training, latents and clips of a seed, by Snakemake's own account."""
    where = results / "benchmarks"
    files = [
        *(where / f"train_stage/{name}").glob(f"*/{seed}.tsv"),
        where / f"encode_stage/{name}/vae/{seed}.tsv",
        where / f"generate_clips/{name}/{seed}/draw-0.tsv",
    ]
    rows = [dict(zip(*(x.split("\t") for x in f.read_text().splitlines()[:2]), strict=True))
            for f in files]  # fmt: skip
    return sum(float(row["cpu_time"]) for row in rows)


def figure(row: dict[str, str] | None) -> str:
    """A value with its interval."""
    if row is None or not row["value"]:
        return ""
    interval = f" [{float(row['ci_low']):.2f}, {float(row['ci_high']):.2f}]" * bool(row["ci_low"])
    return f"{float(row['value']):.2f}{interval}"


def main(folder: Path, name: str) -> None:
    """Print and record both tables."""
    results = folder / "results"
    codec: list[list[str]] = []
    sets: list[list[str]] = []
    for place in sorted((results / f"metrics/{name}").glob("seed-*")):
        seed = place.name
        about: dict[str, Any] = read_json(results / f"latents/{name}/vae/{seed}/statistics.json")
        rows = read_csv(place / "draw-0/memorisation.csv")
        runs = {r["clips"]: r["value"] for r in rows if r["metric"] == "longest_run"}
        f1 = about["fidelity"]
        codec.append([
            seed, f"{seconds(results, name, seed):.0f}", f"{f1['valid']['f1']:.3f}",
            f"{f1['test']['f1']:.3f}", f"{f1['test']['f1_unseen']:.3f}",
            f"{f1['valid']['kl']:.0f}", *(f"{float(runs[s]):.0f}" for s in ("generated", "real")),
        ])  # fmt: skip
        found = {(r["clips"], r["metric"]): r for r in read_csv(place / "draw-0/symbolic.csv")}
        for clips, words in SETS.items():
            if clips == "generated" or place.name == "seed-0":
                values = [figure(found.get((clips, metric))) for metric in FIGURES]
                sets.append([seed if clips == "generated" else "", words, *values])
    gate = (results / "fad.txt").read_text(encoding="utf-8").splitlines()[-1]
    head = ["seed", "CPU s", "F1 valid", "F1 test", "of unseen phrases", "nats a phrase",
            "longest run, bars", "of real music"]  # fmt: skip
    lines = [
        "CPU seconds are of training, latents and clips; intervals are over clips.",
        "",
        *table(head, codec),
        "",
        *table(["seed", "clips", *(metric.replace("_", " ") for metric in FIGURES)], sets),
        "",
        f"`{gate}`",
    ]
    record(f"Phrases: a run of {name}", COMMAND, lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
