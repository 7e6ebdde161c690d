"""The released PhraseVAE and PhraseLDM, from files to the table and the page, without any training."""

from __future__ import annotations

import music
import pytest
import torch
import yaml
from workspace import ROOT, SMOKE, Workspace, jobs

pytest.importorskip("diffusers")
import released_phrases as released

from etude.midi.notes import read_midi
from etude.storage import read_csv, read_json

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

PRESET = ROOT / "config/presets/phrase_ldm_released.yaml"
NAME = "phrase_ldm_released"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The preset over a small folder, with look-alikes in the place of the hub's files."""
    workspace = Workspace(tmp_path_factory.mktemp("released"))
    music.make_chorales(workspace.folder / "music", 8, seed=1)
    vae, ldm = released.phrase_vae(), released.phrase_ldm()
    vae.save_pretrained(workspace.folder / "phrase-vae")
    torch.save(ldm.lightning(vae), workspace.folder / "ldm.ckpt")
    preset = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    own = {"source": "folder", "path": str(workspace.folder / "music"), "shards": 1}
    preset["corpora"] = {"songs": own}
    preset["pretrained"] = {
        "phrase_vae": {
            "kind": "checkpoint", "path": str(workspace.folder / "phrase-vae"),
            "file": "model.safetensors",
        },
        "phrase_ldm": {
            "kind": "checkpoint", "path": str(workspace.folder / "ldm.ckpt"), "trust": True,
        },
    }  # fmt: skip
    preset["tokenizers"]["remi_z"] |= {"key_from": "notes", "order": "pitch"}
    chosen = preset["experiments"][NAME]
    chosen["stages"]["vae"]["network"] = released.VAE
    chosen["generate"] |= {
        "clips": 3, "bars": 8, "seconds": 2, "denoising": {"solver": "ddim", "steps": 5},
    }  # fmt: skip
    preset["evaluation"] = {"embeddings": ["harmony"], "gate_embeddings": ["harmony"]}
    configs = [SMOKE, workspace.config("tiny", preset)]
    workspace.run(configs=configs)
    return workspace, configs


def test_no_stage_is_trained(made):
    workspace, configs = made
    models = workspace.folder / f"results/models/{NAME}"
    assert {path.name for path in models.iterdir()} == {"vae", "ldm"}
    assert not list(models.glob("**/history.csv"))
    found = read_json(models / "ldm/seed-0/config.json")["network"]
    assert (found["scale"], found["clip"]) == (0.5, 3.5), "as the checkpoint says itself"
    assert not jobs(workspace.run("-n", configs=configs))


def test_songs_distances_copies_and_the_page(made):
    workspace, _ = made
    results = workspace.folder / "results"
    clips = list(read_csv(results / f"clips/{NAME}/seed-0/draw-0/clips.csv"))
    assert len(clips) == 3
    assert all(row["midi"] for row in clips)
    assert f"\n  {NAME} (released_phrases" in workspace.text("results/fad.txt")
    metrics = {path.name for path in (results / "metrics" / NAME).glob("**/*.csv")}
    assert {"latents.csv", "memorisation.csv"} <= metrics
    page = workspace.text("results/report/index.html")
    assert NAME in page
    assert "gaussian latents" in page
    latents = read_json(results / f"latents/{NAME}/vae/seed-0/statistics.json")
    assert latents["scale"] > 0


def test_it_is_exported_and_plays_elsewhere(made):
    workspace, configs = made
    workspace.etude("export", "--experiment", NAME, "--configfile", *configs, "--output", "out")
    workspace.etude("generate", "--from", "out", "--clips", "1", "--output", "song")
    assert len(read_midi(workspace.folder / "song1.mid"))


def test_the_preset_is_planned_without_a_training(workspace):
    """As it is, with the hub's weights and POP909."""
    done = workspace.run("-n", configs=[PRESET])
    planned = jobs(done)
    wanted = {"fetch_source", "fetch_weights", "import_weights", "encode_stage", "generate_clips"}
    assert wanted | {"score_fad", "find_memorisation", "build_report"} <= planned
    assert "train_stage" not in planned
