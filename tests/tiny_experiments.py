"""Trained experiments as the workflow leaves them: results/ and mine.yaml in a folder."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from symbols import NETWORKS

from etude import config
from etude.storage import hash_file, hash_folder, write_csv, write_json, write_text
from etude.systems.audiolm.building import STAGES
from etude.systems.audiolm.building import build_stage as build_sound_stage
from etude.systems.symbolic_lm.stage import build_stage
from etude.tokenizers import registry
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer

WINDOW = 64


def make_notes(home: Path) -> config.Config:
    """A Llama over REMI, untrained: the experiment `notes`."""
    content = {
        "corpora": {"mine": {"source": "folder", "path": str(home / "music")}},
        "tokens": {"short": {"tokenizer": "remi", "window": WINDOW, "stride": 32, "shortest": 48}},
        "experiments": {
            "notes": {
                "system": "symbolic_lm", "corpus": "mine", "tokens": "short",
                "stages": {"lm": {"network": NETWORKS["llama"]}},
                "generate": {"sampling": {"top_k": 8}},
            }
        },
        "run": ["notes"],
    }  # fmt: skip
    (home / "mine.yaml").write_text(yaml.safe_dump(content))
    settings = config.read(config.DEFAULT, home / "mine.yaml")
    tokenizer = create_symbolic_tokenizer(settings.tokenizers["remi"])
    place = home / "results/tokenizers/mine/remi"
    place.mkdir(parents=True)
    tokenizer.save(place)
    (place / ".snakemake_timestamp").touch()
    info = {"kind": "symbolic", "window": WINDOW, **tokenizer.describe()} | {"kind": "symbolic"}
    model = home / "results/models/notes/lm/seed-0"
    model.mkdir(parents=True)
    stage = build_stage(settings.experiments["notes"], "lm", info, 0)
    stage.save(model, {"symbolic": hash_folder(place)})
    (model / "card.md").write_text("# lm\n")
    return settings


NETWORK = {"dim": 16, "depth": 1, "heads": 2}
FIT = {"segments": 4}
INFO = {
    "quantizers": 4, "codebook_size": 8, "semantic_vocabulary": 16, "semantic_frames": 20,
    "acoustic_frames": 15, "semantic_frame_rate": 50.0, "acoustic_frame_rate": 37.5,
    "cut": {"seconds": 0.4},
}  # fmt: skip


def make_sound(home: Path) -> config.Config:
    """An AudioLM of tiny stages, untrained, with training seeds 3 and 5: the experiment `mine`."""
    content = {
        "corpora": {"mine": {"source": "folder", "path": str(home / "music")}},
        "cuts": {"short": {"seconds": 0.4}},
        "tokenizers": {
            "bands": {"kind": "semitone_bands", "clusters": 16, "fit": FIT | {"cut": "short"}},
            "magnitude": {
                "kind": "magnitude_rvq", "codebook_size": 8, "components": 8,
                "fit": FIT | {"cut": "short"},
            },
        },
        "tokens": {"embedded": {"cut": "short", "semantic": "bands", "acoustic": "magnitude"}},
        "experiments": {
            "mine": {
                "system": "audiolm", "corpus": "mine", "fine_frames": 5,
                "stages": {stage: {"network": NETWORK} for stage in STAGES},
                "generate": {"prime": str(home / "prime.wav"), "sampling": {"top_k": 4}},
                "seeds": {"train": [3, 5]},
            }
        },
        "run": ["mine"],
    }  # fmt: skip
    (home / "mine.yaml").write_text(yaml.safe_dump(content))
    settings = config.read(config.DEFAULT, home / "mine.yaml")
    for name in ("bands", "magnitude"):
        folder = home / "results/tokenizers/mine" / name
        folder.mkdir(parents=True)
        tokenizer = registry.create_tokenizer(settings.tokenizers[name])
        tokenizer.fit([torch.randn(2, 24000, generator=torch.Generator().manual_seed(0))])
        tokenizer.save(folder)
        (folder / ".snakemake_timestamp").touch()
    for stage in STAGES:
        for seed in (3, 5):
            folder = home / f"results/models/mine/{stage}/seed-{seed}"
            folder.mkdir(parents=True)
            build_sound_stage(settings.experiments["mine"], stage, INFO, seed).save(folder)
            (folder / "card.md").write_text(f"# {stage}\n")
    return settings


def write_search(home: Path, name: str, seeds: tuple[int, ...]) -> None:
    """Clips of an experiment's trainings, and what the search for copies says of them."""
    found = [
        ("generated", "memorised_exact", "", "0.0", "0.0", "0.056", "64", ""),
        ("generated", "memorised_fingerprint", "", "0.016", "0.0", "0.084", "64", ""),
        ("generated", "memorised_neighbours", "timbre", "", "", "", "", "n/a: too few"),
        ("real", "memorised_exact", "", "0.5", "0.4", "0.6", "64", ""),
        ("planted", "recall_exact_exact", "", "1.0", "0.94", "1.0", "60", ""),
        ("planted", "recall_fingerprint_exact", "", "1.0", "0.94", "1.0", "60", ""),
        ("planted", "recall_fingerprint_gain", "", "0.983", "0.91", "1.0", "60", ""),
        ("planted", "recall_fingerprint_reversed", "", "0.0", "0.0", "0.06", "60", ""),
    ]
    columns = ["clips", "metric", "embedding", "value", "ci_low", "ci_high", "n", "note"]
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    for seed in seeds:
        place = f"{name}/seed-{seed}/draw-0"
        write_csv(home / "results/metrics" / place / "memorisation.csv", columns, rows)
        models = sorted((home / "results/models" / name).glob(f"*/seed-{seed}/model.safetensors"))
        stages = {path.parts[-3]: hash_file(path) for path in models}
        write_json(home / "results/clips" / place / "weights.json", {"stages": stages})


HEAD = "file,contributor,licence,share,consent_date,may_train,may_publish"
ROWS = [
    "one.wav,Ann,CC-BY-4.0,,2026-03-01,yes,yes",
    "zwei für.wav,Bo,by agreement,,2026-03-01,yes,yes",
    "held out.wav,Cy,CC0-1.0,,2026-03-01,yes,yes",
]
PIECES = [("one.wav", 60, "train"), ("zwei für.wav", 180, "train"), ("held out.wav", 90, "test")]


def make_owned(home: Path) -> config.Config:
    """`make_sound` over a corpus of three people's music."""
    make_sound(home)
    content = yaml.safe_load((home / "mine.yaml").read_text())
    content["corpora"]["mine"]["ownership"] = "ownership.csv"
    write_text(home / "mine.yaml", yaml.safe_dump(content))
    write_text(home / "ownership.csv", "\n".join([HEAD, *ROWS]))
    rows = [
        {
            "piece": f"p{number}", "path": path, "sha256": f"{number}" * 64, "status": "kept",
            "seconds": seconds, "split": split,
        }
        for number, (path, seconds, split) in enumerate(PIECES)
    ]  # fmt: skip
    write_csv(home / "results/corpora/mine/pieces.csv", list(rows[0]), rows)
    write_search(home, "mine", (3, 5))
    return config.read(config.DEFAULT, home / "mine.yaml")
