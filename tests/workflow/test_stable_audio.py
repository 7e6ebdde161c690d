"""A tiny `stable_audio` and an adapter of it, from recordings to the table and the page."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from workspace import SMOKE, Workspace, jobs

from etude.storage import read_csv, read_json

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

RATE = 32000
FEW = {"steps": 6, "batch_size": 4, "warmup_steps": 2, "validate_every": 3}
NETWORK = {"layers": 1, "heads": 1, "text_dim": 16, "text_length": 12, "time_dim": 16}
GENERATE = {"clips": 3, "seconds": 2, "denoising": {"steps": 4}}


def take(hertz, number, seconds=4.0, rate=RATE):
    """A note that swells, with a little noise."""
    random = np.random.default_rng(number)
    times = np.arange(round(rate * seconds)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * h * times + number) / h for h in (1, 2, 3))
    swell = 1 + np.sin(2 * np.pi * (1 + number % 3) * times)
    return (0.05 * wave * swell + 0.003 * random.standard_normal(len(times))).astype(np.float32)


def make_recordings(folder, hertz, count, name):
    """Takes whose names are their captions."""
    folder.mkdir()
    for number in range(count):
        wave = take(hertz * 2 ** (number / 12), number)
        soundfile.write(folder / f"{name}, slow [{number}].wav", wave, RATE)


def make_bad(folder):
    """What collections have besides: two channels, another rate, a moment, too many words."""
    wave = take(777, 50)
    soundfile.write(folder / "two channels.wav", np.stack([wave, 0.5 * wave[::-1]], 1), RATE)
    soundfile.write(folder / "fine.wav", take(888, 51, rate=96000), 96000)
    soundfile.write(folder / "rough.wav", take(999, 52, rate=8000), 8000)
    soundfile.write(folder / "moment.wav", take(666, 53, 0.02), RATE)
    (folder / "broken.wav").write_bytes(b"no sound")
    rows = [f'two channels.wav,"{" ".join(["loud"] * 500)}"', "fine.wav,"]
    (folder / "metadata.csv").write_text("\n".join(["path,caption", *rows, ""]), "utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("stable_audio"))
    make_recordings(workspace.folder / "general", 220, 12, "low hum")
    make_recordings(workspace.folder / "ours", 440, 10, "wobbly siren")
    make_bad(workspace.folder / "ours")
    captions = {"from": ["column", "file_name"]}
    dit = {"network": NETWORK, "window": 1.0, "training": FEW}
    common = {"system": "stable_audio", "tokens": "embedded", "generate": GENERATE}
    content = {
        "corpora": {
            name: {
                "source": "folder", "path": name, "shards": 1, "captions": captions,
                "split": {"train": 0.5, "valid": 0.25, "test": 0.25},
            }
            for name in ("general", "ours")
        },
        "tokenizers": {"magnitude": {"kind": "magnitude_rvq", "fit": {"corpus": "general"}}},
        "experiments": {
            "sound": common | {"corpus": "general", "stages": {"dit": dit}},
            "siren": common | {
                "corpus": "ours", "base": "sound", "adapt": {"kind": "lora", "rank": 2},
                "stages": {"dit": {"window": 1.0, "training": FEW}},
            },
        },
        "evaluation": {"embeddings": ["logmel"], "gate_embeddings": ["logmel"]},
        "run": ["sound", "siren"],
    }  # fmt: skip
    configs = [SMOKE, workspace.config("tiny", content)]
    workspace.by_hand(configs=configs)
    return workspace, configs


def rows(workspace, path):
    return list(read_csv(workspace.folder / "results" / path))


def test_every_recording_is_encoded_or_a_row(made):
    workspace, _ = made
    pieces = {row["path"]: row for row in rows(workspace, "corpora/ours/pieces.csv")}
    folder = "latents/siren/autoencoder/seed-0"
    encoded = {
        row["piece"]: row
        for split in ("train", "valid", "test")
        for row in rows(workspace, f"{folder}/{split}.csv")
    }
    left_out = {row["piece"]: row["reason"] for row in rows(workspace, f"{folder}/left_out.csv")}
    kept = {row["piece"] for row in pieces.values() if row["status"] == "kept"}
    assert kept == set(encoded) | set(left_out)
    assert not set(encoded) & set(left_out)
    assert encoded[pieces["two channels.wav"]["piece"]]["caption"].startswith("loud loud")
    assert encoded[pieces["fine.wav"]["piece"]]["caption"] == "fine", "its name, where it has none"
    for name in ("rough.wav", "moment.wav", "broken.wav"):
        about = pieces[name]
        assert about["piece"] in left_out or about["reason"], name


def test_an_adapter_is_trained_on_its_base(made):
    workspace, _ = made
    models = workspace.folder / "results/models/siren"
    assert {path.name for path in models.iterdir()} == {"autoencoder", "base", "dit"}
    assert (models / "dit/seed-0/adapter/adapter_model.safetensors").is_file()
    changed = read_json(models / "dit/seed-0/changed.json")
    assert changed["moved"] > 0
    base = workspace.folder / "results/models/sound/dit/seed-0/model.safetensors"
    assert (models / "base/seed-0/model.safetensors").read_bytes() == base.read_bytes()
    log = workspace.text("results/logs/train_stage/siren/dit/seed-0.log")
    assert "Traceback" not in log


def test_it_goes_to_the_table_and_the_page(made):
    workspace, configs = made
    table, page = workspace.text("results/fad.txt"), workspace.text("results/report/index.html")
    for name in ("sound", "siren"):
        assert f"\n  {name} (stable_audio" in table
        assert name in page
    clips = rows(workspace, "clips/siren/seed-0/draw-0/conditions.csv")
    assert len(clips) == 3
    assert all("wobbly" in row["prompt"] or "loud" in row["prompt"] or row["prompt"] == "fine"
               for row in clips)  # fmt: skip
    assert not jobs(workspace.run("-n", configs=configs))


def test_it_is_exported_and_plays_elsewhere(made):
    workspace, configs = made
    workspace.etude("export", "--experiment", "siren", "--configfile", *configs, "--output", "out")
    workspace.etude(
        *("generate", "--from", "out", "--text", "wobbly siren", "--duration", 1.5),
        *("--output", "track"),
    )
    wave, rate = soundfile.read(workspace.folder / "track1.wav")
    assert len(wave) == round(1.5 * rate)
    assert np.abs(wave).max() > 0
