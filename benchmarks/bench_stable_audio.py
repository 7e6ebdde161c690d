"""What adapting to a collection gains and what it forgets: full, low-rank, with and without replay.

    snakemake --cores 2 --configfile config/presets/stable_audio.yaml -- \\
        results/latents/sound/autoencoder/seed-0 results/latents/ours_full/autoencoder/seed-0
    python benchmarks/bench_stable_audio.py . [NAME ...] [--minutes 3]   every variant, or these
    python benchmarks/bench_stable_audio.py . --table                    what is there, into docs

A variant that is there is not made again; with --minutes a training stops after so long, and the
next call goes on from its state. Clips are of 2 s, asked by held-out captions of either corpus;
real music is held out and goes through the autoencoder, as clips do. Distances are Fréchet's of the
embedding `timbre`, at guidance 1. A linear discriminant of all sounds (of training windows through
the autoencoder) says at guidance 4 whether a clip is the sound that was asked for.
"""

from __future__ import annotations

import json
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
from safetensors.torch import load_file

from etude.clips.progress import never, silent
from etude.config.base import merge
from etude.config.reading import load_config
from etude.metrics.concepts import Discriminant, away
from etude.metrics.frechet import Reference
from etude.metrics.logmel import LogMel
from etude.metrics.memorisation.null import exact_interval
from etude.metrics.registry import open_embedding
from etude.metrics.space import Space
from etude.storage import read_csv, read_json, write_json
from etude.systems import open_system
from etude.systems.base import Parts
from etude.systems.conditions import Conditions
from etude.systems.stable_audio.autoencoder import Autoencoder, of_tokenizer
from etude.tokenizers.registry import load_tokenizer
from etude.training.loop import Interrupted
from etude.training.stage import train_stage

COMMAND = "python benchmarks/bench_stable_audio.py FOLDER --table"
GENERAL, OWNED = "programs", "ours"
SEEDS, CLIPS, SECONDS = (0, 1, 2), 64, 2.0
ADAPT: dict[str, dict[str, Any]] = {
    "full": {"kind": "full", "replay": 0.0},
    "full, replay": {"kind": "full", "replay": 0.25},
    "lora": {"kind": "lora", "replay": 0.0},
    "lora, replay": {"kind": "lora", "replay": 0.25},
}
VARIANTS = ["base", *(f"{kind}, seed {seed}" for seed in SEEDS for kind in ADAPT)]
COMPONENTS = (32, 48, 64, 96)

Array = np.ndarray


class Bench:
    """A folder of a run, its latents, and what is heard of held-out music."""

    def __init__(self, folder: Path) -> None:
        self.results, self.root = folder / "results", folder / "results/variants"
        self.root.mkdir(parents=True, exist_ok=True)
        raw = yaml.safe_load((home / "config/config.yaml").read_text())
        preset = home / "config/presets/stable_audio.yaml"
        self.raw = merge(raw, yaml.safe_load(preset.read_text()))
        self.config = load_config(self.raw)
        self.system = open_system("stable_audio")
        self.latents = {
            corpus: self.results / f"latents/{experiment}/autoencoder/seed-0"
            for corpus, experiment in ((GENERAL, "sound"), (OWNED, "ours_full"))
        }
        models = self.results / "models/sound/autoencoder/seed-0"
        self.autoencoder = Autoencoder.load(models)
        self.models = {"autoencoder": models}
        self.ear = open_embedding("timbre", self.autoencoder.rate)

    def parts(self, corpus: str) -> Parts:
        """What training needs of a corpus."""
        return Parts(
            packed=self.results / f"packed/{corpus}/embedded",
            latents={"autoencoder": self.latents[corpus]},
            captions=self.results / f"corpora/{corpus}/captions.csv",
            models=dict(self.models),
        )

    # ------------------------------------------------------------------------------ training

    def experiment(self, name: str) -> tuple[Any, Parts, int]:
        """Settings, parts and training seed of a variant."""
        if name == "base":
            return self.config.experiments["sound"], self.parts(GENERAL), 0
        kind, _, seed = name.rpartition(", seed ")
        own = merge(self.raw["experiments"]["ours_full"], {"adapt": ADAPT[kind]})
        raw = merge(self.raw, {"experiments": {"ours_full": own}})
        parts = self.parts(OWNED)
        base = {"base": self.folder("base")}
        borrowed = {"sound/autoencoder": self.latents[GENERAL]}
        latents = dict(parts.latents) | (borrowed if ADAPT[kind]["replay"] else {})
        parts = replace(parts, models={**parts.models, **base}, latents=latents)
        return load_config(raw).experiments["ours_full"], parts, int(seed)

    def folder(self, name: str) -> Path:
        """Where a variant lies."""
        return self.root / name.replace(", ", "-").replace(" ", "-")

    def train(self, name: str, minutes: float) -> bool:
        """Train a variant, or go on with it; whether it is finished."""
        folder = self.folder(name)
        if (folder / "cost.json").is_file():
            return True
        experiment, parts, seed = self.experiment(name)
        given = replace(parts, models={k: v for k, v in parts.models.items() if k == "base"})
        began, until = time.process_time(), time.monotonic() + 60 * minutes
        try:
            train_stage(
                *(experiment, "dit", seed, given, folder, self.root / "state"),
                should_stop=lambda: time.monotonic() > until,
            )
        except Interrupted:
            print(f"{name}: stopped, and goes on next time")
            return False
        write_json(folder / "cost.json", {"seconds_of_last_call": time.process_time() - began})
        return True

    # ------------------------------------------------------------------------------- hearing

    def hear(self, waves: Any) -> Array:
        """Embeddings [clips, dim]."""
        rows = [self.ear.embed(np.asarray(w)[None].astype(np.float64))[0].mean(0) for w in waves]
        return np.stack(rows)

    def windows(self, corpus: str, splits: tuple[str, ...], most: int) -> tuple[Array, list[str]]:
        """Embeddings of real windows through the autoencoder, and what sounds in them."""
        place = self.root / f"real-{corpus}-{'-'.join(splits)}.npz"
        if not place.is_file():
            frames, found, names = round(SECONDS * self.autoencoder.frame_rate), [], []
            for split in splits:
                latents = load_file(self.latents[corpus] / f"{split}.safetensors")["latents"]
                for row in read_csv(self.latents[corpus] / f"{split}.csv"):
                    first, count = int(row["first"]), int(row["frames"])
                    for begin in range(first, first + count - frames + 1, 3 * frames):
                        found.append(latents[begin : begin + frames].T)
                        names.append(row["caption"].split(", ")[0])
            chosen = np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)
            waves = (self.autoencoder.decode(found[i][None])[0].numpy() for i in chosen)
            rows, kept = self.hear(waves), np.array([names[i] for i in chosen])
            np.savez(place, rows=rows, names=kept)
        content = np.load(place)
        return content["rows"], list(content["names"])

    def judge(self, name: str) -> dict[str, Any]:
        """The row of a variant that was trained."""
        place = self.folder(name) / "row.json"
        if place.is_file():
            return dict(read_json(place))
        experiment, parts, seed = self.experiment(name)
        parts = replace(parts, models={**parts.models, "dit": self.folder(name)})
        player = self.system.open(experiment, parts)
        real = {c: self.windows(c, ("valid", "test"), 128) for c in (GENERAL, OWNED)}
        learned = {c: self.windows(c, ("train",), 600) for c in (GENERAL, OWNED)}
        classes: dict[str, list[Array]] = {}
        for rows, names in learned.values():
            for one, sound in zip(rows, names, strict=True):
                classes.setdefault(sound, []).append(one)
        told = Discriminant({n: np.stack(r) for n, r in classes.items() if len(r) > 1})
        row: dict[str, Any] = {"name": name, "sounds": len(told.names)}
        for corpus, (rows, names) in real.items():
            space = Space(rows, self.ear.components, self.ear.deviation_floor)
            reference = Reference(space.rows)
            plain, _ = self.clips(player, experiment, corpus, seed, 1.0)
            made, asked = self.clips(player, experiment, corpus, seed, 4.0)
            row[corpus] = {
                "distance": reference.distance(space(plain)),
                "floor": reference.distance(space(learned[corpus][0])),
                "right": int((told(made) == np.array(asked)).sum()),
                "real_right": float((told(rows) == np.array(names)).mean()),
                "clips": len(made),
                "copied": copied(plain, rows, learned[corpus][0]),
            }
        write_json(place, row)
        return row

    def clips(
        self, player: Any, experiment: Any, corpus: str, seed: int, guidance: float
    ) -> tuple[Array, list[str]]:
        """Embeddings of clips, and the sound that each was asked for."""
        rows = read_csv(self.latents[corpus] / "valid.csv")
        texts = list(dict.fromkeys(row["caption"] for row in rows))
        how = experiment.generate.model_dump() | {"clips": CLIPS, "seconds": SECONDS}
        how = merge(how, {"texts": texts, "batch_size": 16, "denoising": {"guidance": guidance}})
        settings = type(experiment.generate).model_validate(how)
        asked = player.prepare(settings, Conditions())
        found = list(player.clips(settings, seed, seed, asked, silent, never))
        names = [clip.condition["prompt"].split(", ")[0] for clip in found]
        return self.hear(clip.wave for clip in found), names


def copied(made: Array, real: Array, learned: Array) -> dict[str, int]:
    """Clips that are nearer to a training window than 95 % of held-out ones are."""
    middle, scale = learned.mean(0), np.maximum(learned.std(0), 1e-6)
    made, real, learned = ((rows - middle) / scale for rows in (made, real, learned))
    limit = np.percentile(away(real, learned).min(1), 5)
    return {"found": int((away(made, learned).min(1) < limit).sum()), "of": len(made)}


# -------------------------------------------------------------------------------- autoencoder


def round_trip(bench: Bench) -> list[list[object]]:
    """Log-mel error in dB of held-out recordings through the PCA, by its numbers of a frame."""
    place = bench.root / "round_trip.json"
    if not place.is_file():
        tokenizer: Any = load_tokenizer(bench.results / f"tokenizers/{GENERAL}/magnitude")
        most = tokenizer.tensors["basis"].shape[1]
        counts = [count for count in COMPONENTS if count < most] + [most]
        found = {
            corpus: {
                count: error_of(bench, of_tokenizer(tokenizer, count), corpus) for count in counts
            }
            for corpus in (GENERAL, OWNED)
        }
        write_json(place, found)
    content = read_json(place)
    return [[c, n, f"{e:.2f}"] for c, errors in content.items() for n, e in errors.items()]


def error_of(bench: Bench, autoencoder: Autoencoder, corpus: str) -> float:
    """Mean absolute difference of log-mel levels in dB over the loudest 60 dB of held-out clips."""
    from etude.audio.files import AudioFile

    mel, errors = LogMel(autoencoder.rate), []
    pieces = [row["piece"] for row in read_csv(bench.latents[corpus] / "test.csv")][:12]
    for piece in pieces:
        file = next(bench.results.glob(f"corpora/{corpus}/wav/*/{piece}.wav"))
        with AudioFile(file) as audio:
            wave = audio.read(autoencoder.rate)[: 4 * autoencoder.rate]
        again = autoencoder.decode(autoencoder.encode(torch.from_numpy(wave)[None]))[0].numpy()
        length = len(again)
        one, two = (
            np.asarray(mel.levels(w[None, :length].astype(np.float64))[0]) for w in (wave, again)
        )
        errors.append(np.abs(one - two)[one > one.max() - 60].mean())
    return float(np.mean(errors))


# -------------------------------------------------------------------------------------- table


def write_table(bench: Bench) -> None:
    """All that is there, into docs/benchmarks.md."""
    rows = [bench.judge(n) for n in VARIANTS if (bench.folder(n) / "cost.json").is_file()]
    base = next(row for row in rows if row["name"] == "base")
    lines = []
    for row in rows:
        cells: list[object] = [row["name"]]
        for corpus in (OWNED, GENERAL):
            about = row[corpus]
            change = about["distance"] / base[corpus]["distance"] - 1
            low, high = exact_interval(about["right"], about["clips"])
            share = about["right"] / about["clips"]
            cells += [
                f"{about['distance']:.1f} ({change:+.0%})",
                f"{share:.2f} [{low:.2f}, {high:.2f}]",
                f"{about['copied']['found']}/{about['copied']['of']}",
            ]
        lines.append(cells)
    head = ["variant"]
    for corpus in ("owned", "general"):
        head += [f"{corpus}: distance", "sound right", "copied"]
    floors = "; ".join(
        f"{c} training windows {base[c]['floor']:.1f}, held-out recognised "
        f"{base[c]['real_right']:.2f}"
        for c in (OWNED, GENERAL)
    )
    about = (
        f"{CLIPS} clips a cell. {floors}. Chance of a right sound: 1/{base['sounds']}. copied: 5 % "
        "of held-out music is. Sounds with 95 % intervals."
    )
    text = [about, "", *table(head, lines)]
    if (bench.root / "round_trip.json").is_file():
        head = ["corpus", "numbers of a frame", "log-mel error, dB"]
        text += ["", *table(head, round_trip(bench))]
    record("Stable Audio: what adaptation gains and forgets", COMMAND, text)


def main() -> None:
    """Read the command line."""
    arguments = sys.argv[1:]
    minutes = 1e6
    if "--minutes" in arguments:
        place = arguments.index("--minutes")
        minutes = float(arguments[place + 1])
        del arguments[place : place + 2]
    bench, names = Bench(Path(arguments[0])), arguments[1:]
    if "--table" in names:
        write_table(bench)
        return
    if "round trip" in names:
        print(json.dumps(round_trip(bench)))
        names.remove("round trip")
        if not names:
            return
    for name in names or VARIANTS:
        if not bench.train(name, minutes):
            break
        print(json.dumps(bench.judge(name)))


if __name__ == "__main__":
    main()
