"""What each choice of phrase_ldm gives on chorales: autoencoders, diffusions, sampling.

    snakemake --cores 2 --configfile config/presets/phrase_chorales.yaml -- \\
        results/packed/chorales/pieces
    python benchmarks/bench_phrase_variants.py . [NAME ...]     every variant, or these
    python benchmarks/bench_phrase_variants.py . --table        what is there, into docs

Each variant is a few steps of a training and one seed, so differences of a tenth are nothing. All
is measured on whole pieces of 16 bars in 4/4 against the valid split; seconds are of the CPU. What
is made stands in the folder's results/variants, and is not made twice.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

home = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(home), str(home / "benchmarks")]
# ruff: noqa: E402
from record import record, table

from etude.clips.progress import never, silent
from etude.config.base import merge
from etude.config.reading import load_config
from etude.config.systems.phrase_ldm import PhraseLdm
from etude.metrics.memorisation.bar_runs import BarRuns
from etude.metrics.notes import frechet
from etude.metrics.notes.beats import read_beats
from etude.metrics.notes.clips import parted
from etude.metrics.notes.counterpoint import changes
from etude.metrics.notes.measure import measure_clip
from etude.metrics.notes.table import UNITS, Measured, measured
from etude.midi.notes import NoteTable
from etude.storage import read_csv, read_json, write_json
from etude.systems import open_system
from etude.systems.base import Parts
from etude.systems.conditions import Conditions
from etude.systems.phrase_ldm.baselines import PhraseBaselines
from etude.training.stage import encode_stage, train_stage

PRESET = home / "config/presets/phrase_chorales.yaml"
NAME, BARS, CLIPS = "phrase_chorales", 16, 64
SPLITS = ("train", "valid", "test")
OF_VAE = ("reconstruction", "shuffled_latents", "gaussian_latents")  # what is compared with
OF_NONE = ("independent_bars", "ngram")
FIGURES = ("chord_share", "dissonance", "voice_crossing", "bar_leap", "section_recurrence")
COMMAND = "python benchmarks/bench_phrase_variants.py FOLDER --table"

# Autoencoders, over those of the preset: steps that one core makes in some four minutes.
VAE = {"validate_every": 100_000, "validate_items": 64}
SMALL = {"dim": 96, "layers": 2, "heads": 3, "dropout": 0.0, "latent": 16}
ALONE = SMALL | {"bar_layers": 0}  # each phrase becomes a latent by itself
STEPS = {"steps": 1200, "batch_size": 32}
VAES: dict[str, dict[str, Any]] = {
    "context of the bar, kl .05": {"network": ALONE | {"context": "bar"}, "kl": {"weight": 0.05},
                      "training": STEPS},
    "kl .1, 1000 steps of 16": {"network": ALONE, "kl": {"weight": 0.1},
                                "training": {"steps": 1000, "batch_size": 16}},
    **{f"small run, kl {weight}": {"network": SMALL | {"bar_layers": layers},
                                   "kl": {"weight": weight},
                                   "training": {"steps": 1400, "batch_size": 16}}
       for weight, layers in ((0.05, 1), (0.1, 1))},
    "preset": {},
    "notes, kl .1": {"network": ALONE, "kl": {"weight": 0.1}, "training": STEPS},
    "notes, bars seen, kl .1": {"network": SMALL | {"bar_layers": 2}, "kl": {"weight": 0.1},
                                "training": STEPS},
    "notes, bars seen, kl .18": {"network": SMALL | {"bar_layers": 2}, "kl": {"weight": 0.18},
                                 "training": STEPS},
    "notes, bars seen, kl .3": {"network": SMALL | {"bar_layers": 2}, "kl": {"weight": 0.3},
                                "training": STEPS},
    "notes, kl .3": {"network": SMALL, "kl": {"weight": 0.3}, "training": STEPS},
}  # fmt: skip
# Diffusions: which autoencoder, over the preset's network and training, and how it is sampled.
LDM = {"steps": 3000, "batch_size": 16, "learning_rate": 2e-3, "ema_decay": 0.998,
       "validate_every": 100_000}  # fmt: skip
PLAIN = {"dim": 128, "layers": 4, "heads": 4, "dropout": 0.0, "self_condition": False}
LDMS: dict[str, dict[str, Any]] = {
    "of context of the bar": {"vae": "context of the bar, kl .05", "network": {},
                              "learning_rate": 1e-3},
    "bars of kl .1": {"vae": "kl .1, 1000 steps of 16", "network": {}, "steps": 1600,
                      "ema_decay": 0.997},
    **{f"of small run, kl {weight}": {"vae": f"small run, kl {weight}", "network": {},
                                      "steps": 1600, "ema_decay": 0.997}
       for weight in (0.05, 0.1)},
    "diffusion of preset": {"vae": "preset"},
    "bars, notes .1": {"vae": "notes, kl .1", "network": {}},
    "bars, notes .3": {"vae": "notes, kl .3", "network": {}},
    "bars, notes and bars .1": {"vae": "notes, bars seen, kl .1", "network": {}},
    "bars, notes and bars .18": {"vae": "notes, bars seen, kl .18", "network": {}},
    "bars, notes and bars .3": {"vae": "notes, bars seen, kl .3", "network": {}},
    "larger": {"vae": "notes, bars seen, kl .1", "steps": 6000, "ema_decay": 0.999,
               "network": {"dim": 192, "layers": 6}},
    "self-conditioning": {"vae": "notes, kl .1", "network": {"self_condition": True}},
    "phrases, alternate": {"vae": "notes, kl .1", "network": {
        "token": "phrase", "attention": "alternate"}, "steps": 1500},
}  # fmt: skip
# How the pieces are sampled; all but the first only from those of SAMPLED.
HOW: dict[str, dict[str, Any]] = {
    "": {"solver": "dpm", "steps": 20},
    ", ddim, 50 steps, eta 1": (eta := {"solver": "ddim", "steps": 50, "eta": 1.0}),
    ", ddim, eta 1, temperature .9": eta | {"temperature": 0.9},
    ", ddim, eta 1, temperature .8": eta | {"temperature": 0.8},
    ", ddim, eta 1, temperature .7": eta | {"temperature": 0.7},
    ", guidance 2": {"solver": "dpm", "steps": 20, "guidance": 2.0},
}
SAMPLED = ("of small run, kl 0.05", "of small run, kl 0.1", "bars, notes .1",
           "bars, notes and bars .1", "bars, notes and bars .18", "bars, notes and bars .3",
           "larger", "diffusion of preset")  # fmt: skip


class Bench:
    """One folder of a run, its packed pieces, and what is measured against."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.root = self.results / "variants"
        self.root.mkdir(parents=True, exist_ok=True)
        self.raw = yaml.safe_load((home / "config/config.yaml").read_text())
        self.raw = merge(self.raw, yaml.safe_load(PRESET.read_text()))
        self.config = load_config(self.raw)
        tokenizer = next((self.results / "tokenizers").glob("*/remi_z"), None)
        self.parts = Parts(
            packed=self.results / "packed/chorales/pieces",
            tokenizers={"tokenizer": tokenizer or self.results / "tokenizers/remi_z"},
            corpus=self.config.corpora["chorales"],
        )
        self.system = open_system("phrase_ldm")

    def experiment(self, stages: dict[str, Any], how: dict[str, Any] | None = None) -> PhraseLdm:
        """The preset's experiment with other stages."""
        own = dict(self.raw["experiments"][NAME])
        own["stages"] = merge(own["stages"], stages)
        own["generate"] = {"bars": BARS, "clips": CLIPS, "denoising": how or {}}
        return PhraseLdm.model_validate(own)

    def train(self, name: str, stage: str, experiment: PhraseLdm, parts: Parts) -> tuple[Path, Any]:
        """A stage's folder, and what it cost: {seconds, millions}."""
        folder = self.root / name / stage
        if not (folder / "cost.json").is_file():
            began = time.process_time()
            seed = int(name[-1]) if "seed" in name else 0
            train_stage(experiment, stage, seed, parts, folder, self.root / name / "state")
            used = time.process_time() - began
            write_json(folder / "cost.json", {"seconds": used})
        return folder, read_json(folder / "cost.json")

    def autoencoder(self, name: str) -> tuple[Parts, dict[str, Any]]:
        """One of VAES with its latents, and its row."""
        stages = {"vae": merge({"training": VAE}, VAES[name])}
        experiment, place = self.experiment(stages), f"vae {name}"
        folder, cost = self.train(place, "vae", experiment, self.parts)
        parts = replace(self.parts, models={"vae": folder})
        latents = self.root / place / "latents"
        if not (latents / "statistics.json").is_file():
            latents.mkdir(exist_ok=True)
            encode_stage(experiment, "vae", parts, latents)
        parts = replace(parts, latents={"vae": latents})
        row = self.root / place / "row.json"
        if not row.is_file():
            fidelity = read_json(latents / "statistics.json")["fidelity"]["valid"]
            sets = self.sets(experiment, parts)
            write_json(row, {"name": name, **cost, **fidelity, "sets": sets})
        return parts, read_json(row)

    def sets(self, experiment: PhraseLdm, parts: Parts) -> dict[str, Any]:
        """What is measured of the sets that an autoencoder has without a diffusion."""
        vae, tokenizer = self.system.load_tokenizer(parts.models["vae"], parts), None
        ldm = self.system.build(experiment, "ldm", parts, 0)
        from etude.systems.phrase_ldm.system import tokenizer_of

        tokenizer = tokenizer_of(parts)
        baselines = PhraseBaselines(experiment, parts, vae, ldm, tokenizer, 0)
        found = {}
        for name, some in baselines.sets():
            if name in (*OF_VAE, *OF_NONE):
                found[name] = self.judge(first_bars([clip.notes for clip in some.clips]))
        return found

    def diffusion(self, name: str) -> dict[str, Any]:
        """The rows of one of LDMS."""
        about = LDMS[name]
        parts, _ = self.autoencoder(about["vae"])
        stages = {"vae": merge({"training": VAE}, VAES[about["vae"]])}
        if "network" in about:  # else the preset's own
            own = ("steps", "learning_rate", "ema_decay")
            training = LDM | {key: about[key] for key in own if key in about}
            stages["ldm"] = {"network": PLAIN | about["network"], "training": training}
        experiment = self.experiment(stages)
        folder, cost = self.train(f"ldm {name}", "ldm", experiment, parts)
        parts = replace(parts, models={**parts.models, "ldm": folder})
        for kind, how in HOW.items():
            row = self.root / f"ldm {name}" / f"row{kind}.json"
            if row.is_file() or (kind and name not in SAMPLED):
                continue
            experiment = self.experiment(stages, how)
            player = self.system.open(experiment, parts)
            asked = player.prepare(experiment.generate, Conditions())
            began = time.process_time()
            clips = player.clips(experiment.generate, 0, 0, asked, silent, never)
            tables = [clip.notes for clip in clips]
            made = {"sampling": time.process_time() - began}
            write_json(row, {"name": name + kind, **about, **cost, **made, **self.judge(tables)})
        return read_json(self.root / f"ldm {name}" / "row.json")

    # ------------------------------------------------------------------------------- measured

    def pieces(self, split: str) -> list[NoteTable]:
        """The pieces of a split in 4/4, their first bars."""
        from etude.systems.phrase_ldm.phrases import read_songs
        from etude.systems.phrase_ldm.system import tokenizer_of

        tokenizer = tokenizer_of(self.parts)
        songs = read_songs(self.parts.packed, split, tokenizer)
        common = [s for s in songs if {bar.signature for bar in s.bars} == {(4, 4)}]
        return first_bars([tokenizer.decode(tokenizer.join(song.bars)) for song in common])

    def real(self) -> None:
        """What clips are judged by: valid pieces, changes of chord and bars of training pieces."""
        if hasattr(self, "known"):
            return
        train, valid = self.pieces("train"), self.pieces("valid")
        self.known = np.unique(np.concatenate([changes(beats_of(t)) for t in train]))
        self.runs = BarRuns(self.pieces_whole("train"))
        self.reference = self.measure(valid)
        self.rows = frechet.filled(self.reference.frechet_rows, self.reference.frechet_rows)
        self.project = frechet.projection(self.rows)
        control = [self.runs.search(t) for t in [*valid, *self.pieces("test")]]
        self.limit = float(np.percentile([run.length for run in control if run], 99))

    def pieces_whole(self, split: str) -> list[NoteTable]:
        """All pieces of a split with all of their bars."""
        from etude.systems.phrase_ldm.phrases import read_songs
        from etude.systems.phrase_ldm.system import tokenizer_of

        tokenizer = tokenizer_of(self.parts)
        songs = read_songs(self.parts.packed, split, tokenizer)
        return [tokenizer.decode(tokenizer.join(song.bars)) for song in songs]

    def measure(self, tables: list[NoteTable]) -> Measured:
        """The figures of whole pieces."""
        clips = []
        for number, notes in enumerate(tables):
            row = {"clip": str(number), "prime_seconds": "0", "heard_seconds": str(notes.seconds)}
            clips.append(measure_clip(parted(row, notes), with_harmony=False))
        return measured(
            {"clips": clips, "dropped": {}, "note": ""}, {}, self.known, compat="", real=False
        )

    def judge(self, tables: list[NoteTable]) -> dict[str, Any]:
        """Means, the Fréchet distance to the valid split with an interval, and the longest run."""
        self.real()
        tables = [table for table in tables if len(table)]
        made = self.measure(tables)
        names = list(UNITS)
        values = {n: float(np.nanmean(made.scalars[:, names.index(n)])) for n in FIGURES}
        rows = self.project(frechet.filled(made.frechet_rows, self.rows))
        reference = self.project(self.rows)
        distance = frechet.distance(reference, rows)
        random, drawn = np.random.default_rng(0), []
        for _ in range(200):
            both = [some[random.integers(0, len(some), len(some))] for some in (reference, rows)]
            drawn.append(frechet.distance(*both))
        spread = np.percentile(drawn, [2.5, 97.5]) - np.mean(drawn) + distance
        runs = [run.length for run in map(self.runs.search, tables) if run]
        about = {"frechet": distance, "low": spread[0], "high": spread[1]}
        return values | about | {"longest": max(runs, default=0), "limit": self.limit}


def beats_of(notes: NoteTable) -> Any:
    """The beats of a whole piece."""
    return read_beats(notes, 0, notes.seconds)


def first_bars(tables: list[NoteTable]) -> list[NoteTable]:
    """The notes of the first BARS bars of each."""
    return [notes.at(notes.places().bar < notes.places().bar.min() + BARS) for notes in tables]


def cells(row: dict[str, Any]) -> list[str]:
    """Of a set: the Fréchet distance, means, the longest run."""
    return [
        f"{row['frechet']:.1f} [{row['low']:.1f}, {row['high']:.1f}]",
        *(f"{row[name]:.2f}" for name in FIGURES),
        f"{row['longest']} ({row['limit']:.0f})",
    ]


def write(bench: Bench) -> None:
    """The tables of what there is."""
    of_vae, of_ldm, sets = [], [], {}
    for name in VAES:
        path = bench.root / f"vae {name}" / "row.json"
        if path.is_file():
            row = read_json(path)
            sets[name] = row["sets"]
            chords = row["sets"]["reconstruction"]["chord_share"]
            of_vae.append([name, f"{row['seconds']:.0f}", f"{row['f1']:.3f}",
                           f"{row['f1_unseen']:.3f}", f"{row['exact']:.2f}", f"{row['kl']:.0f}",
                           f"{chords:.2f}"])  # fmt: skip
    for name in LDMS:
        for kind in HOW:
            path = bench.root / f"ldm {name}" / f"row{kind}.json"
            if path.is_file():
                row = read_json(path)
                of_ldm.append([row["name"], row["vae"], f"{row['seconds']:.0f}", *cells(row)])
    for vae, found in sets.items():
        of_ldm += [[name.replace("_", " "), vae, "", *cells(found[name])] for name in OF_VAE]
    for found in list(sets.values())[:1]:
        of_ldm += [[name.replace("_", " "), "", "", *cells(found[name])] for name in OF_NONE]
    if (real := bench.root / "real.json").is_file():
        of_ldm.append(["real, test", "", "", *cells(read_json(real))])
    lines = [
        f"One seed, one core; on the valid split, {BARS} bars of {CLIPS} pieces; CPU seconds.",
        "What is not in the table has not been run.",
        "",
        *table(["autoencoder", "s", "note F1", "unseen", "exact", "nats a phrase",
                "reconstructed chords"], of_vae),
        "",
        *table(["diffusion", "autoencoder", "s", "Fréchet", *(f.replace("_", " ") for f in FIGURES),
                "longest run (p99 of real)"], of_ldm),
    ]  # fmt: skip
    rows = read_csv(bench.results / "corpora/chorales/pieces.csv")
    pieces = sum(row["split"] in SPLITS for row in rows)
    record(f"Phrases: variants on {pieces} chorales", COMMAND, lines)


def main(arguments: list[str]) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    folder, *names = arguments
    bench = Bench(Path(folder))
    if names == ["--table"]:
        write(bench)
        return
    for name in names or [*VAES, *LDMS]:
        if name in VAES and name not in LDMS:
            print(json.dumps(bench.autoencoder(name)[1], indent=1), flush=True)
        else:
            print(json.dumps(bench.diffusion(name), indent=1), flush=True)
    write_json(bench.root / "real.json", bench.judge(bench.pieces("test")))


if __name__ == "__main__":
    main(sys.argv[1:])
