"""A corpus of two sounds with captions, as audio, and a tokenizer fitted on it; in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from etude.audio.files import write_wav
from etude.config import MagnitudeRvq
from etude.config.systems.stable_audio import StableAudio
from etude.storage import write_csv, write_json
from etude.systems.base import Parts
from etude.systems.stable_audio.system import StableAudioSystem
from etude.tokenizers.magnitude_rvq import MagnitudeRvqTokenizer
from etude.training.stage import encode_stage, import_stage, train_stage

RATE, HOP = 8000, 400
SOUNDS = {"low hum": 110.0, "high beep": 1760.0}
SPLITS = (("train", 8), ("valid", 4), ("test", 2))
NETWORK = {
    "layers": 2, "heads": 1, "text_dim": 16, "text_length": 8, "time_dim": 16,
    "spare_words": 16, "longest": 8.0,
}  # fmt: skip


def tone(hertz: float, seconds: float, seed: int = 0) -> np.ndarray:
    """A tone with a little noise."""
    times = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=len(times))
    return (0.3 * np.sin(2 * np.pi * hertz * times) + 0.003 * noise).astype(np.float32)


def make_sounds(folder: Path, sounds: dict[str, float] = SOUNDS, prefix: str = "") -> Parts:
    """What the workflow gives to jobs: WAVs, pieces.csv, captions.csv, a packed set's info."""
    wav, pieces, captions, index = folder / "wav/0000", [], [], []
    wav.mkdir(parents=True)
    for split, count in SPLITS:
        for number in range(count):
            name = list(sounds)[number % len(sounds)]
            piece = f"{prefix}{split}{number}"
            write_wav(wav / f"{piece}.wav", tone(sounds[name], 1.5 + number / 4, number), RATE)
            about = {"piece": piece, "status": "kept", "reason": ""}
            index.append(about)
            pieces.append(about | {"split": split})
            captions.append({"piece": piece, "concept": "", "caption": f"{name}, slow"})
    write_csv(wav / "index.csv", list(index[0]), index)
    write_csv(folder / "pieces.csv", list(pieces[0]), pieces)
    write_csv(folder / "captions.csv", list(captions[0]), captions)
    info = {"data_hash": "0" * 64, "splits": {s: {"items": n, "pieces": n} for s, n in SPLITS}}
    write_json(folder / "packed/info.json", info)
    for split, _ in SPLITS:
        (folder / "packed" / split).mkdir()
    tokenizer = MagnitudeRvqTokenizer(
        MagnitudeRvq(kind="magnitude_rvq", sample_rate=RATE, hop=HOP, n_fft=1024, components=16,
                     codebook_size=8, quantizers=2)
    )  # fmt: skip
    waves = [torch.from_numpy(tone(hertz, 2.0))[None] for hertz in SOUNDS.values()]
    tokenizer.fit([*waves, torch.from_numpy(tone(440.0, 2.0))[None]])
    (folder / "tokenizer").mkdir()
    tokenizer.save(folder / "tokenizer")
    return Parts(
        packed=folder / "packed", tokenizers={"acoustic": folder / "tokenizer"}, wav=(wav,),
        captions=folder / "captions.csv", pieces=folder / "pieces.csv",
    )  # fmt: skip


def experiment(steps: int = 60, pretrained: str = "", **more) -> StableAudio:
    """One that learns in seconds; `training` goes over its training; or one of pretrained weights."""
    if pretrained:
        weights = {"weights": {"pretrained": pretrained}}
        stages = {"autoencoder": weights, "dit": {**weights, "window": 0.5}}
        return StableAudio(system="stable_audio", corpus="c", stages=stages, **more)
    training = {"steps": steps, "batch_size": 8, "warmup_steps": 5, "validate_items": 8}
    dit = {"network": NETWORK, "window": 1.0, "training": training | more.pop("training", {})}
    stages = {"autoencoder": {"network": {"components": 8}}, "dit": dit}
    return StableAudio(system="stable_audio", corpus="c", stages=stages, **more)


def run_stages(
    how: StableAudio,
    parts: Parts,
    folder: Path,
    name: str,
    given: Path | None = None,
    **upstream: Path,
) -> Parts:
    """As the rules run an experiment's stages -> its parts, trained.

    Args:
        given: a folder of results/pretrained/ that both stages are.
        upstream: folders of the base's stages: autoencoder, dit; latents: those of the base.
    """
    models, latents = folder / "models" / name, folder / "latents" / name
    imported = {"autoencoder": "autoencoder"} | ({"base": "dit"} if how.base else {})
    for stage, of_base in imported.items():
        weights = upstream[of_base] / "model.safetensors" if how.base else given
        import_stage(how, stage, 0, parts, weights, models / stage / "seed-0")
    parts = replace(parts, models={stage: models / stage / "seed-0" for stage in imported})
    encode_stage(how, "autoencoder", parts, latents / "autoencoder")
    found = {"autoencoder": latents / "autoencoder"}
    if "latents" in upstream and how.adapt.replay:
        found[f"{how.base}/autoencoder"] = upstream["latents"]
    parts = replace(parts, latents=found)
    learned = {stage: path for stage, path in parts.models.items() if stage == "base"}
    trained, last = replace(parts, models=learned), models / "dit/seed-0"
    if given is None:
        train_stage(how, "dit", 0, trained, last, folder / "state")
    else:
        import_stage(how, "dit", 0, trained, given, last)
    return replace(parts, models={**parts.models, "dit": last})


def opened(how: StableAudio, parts: Parts):
    """Its player."""
    return StableAudioSystem().open(how, parts)
