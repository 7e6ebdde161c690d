"""Tiny networks of HuBERT's and EnCodec's classes take the embedded tokenizers' place, end to end."""

from __future__ import annotations

import csv

import music
import pytest
import tiny_models
from workspace import ROOT, SMOKE, jobs, own_folder

pytestmark = pytest.mark.workflow

VERIFIED = [f"results/verified/mine/{role}.csv" for role in ("semantic", "acoustic")]


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A folder with music, the models and a configuration that names both."""
    from workspace import Workspace

    workspace = Workspace(tmp_path_factory.mktemp("pretrained"))
    music.make_chorales(workspace.folder / "music", 6, seed=3)
    tiny_models.make_hubert(workspace.folder / "models/hubert")
    tiny_models.make_encodec(workspace.folder / "models/encodec")
    config = own_folder(workspace.folder / "music")
    config |= {
        "pretrained": {
            kind: {
                "kind": kind,
                "path": str(workspace.folder / "models" / kind),
                "verify": "report",
            }
            for kind in ("hubert", "encodec")
        },
        "tokenizers": {
            "semantic": {"kind": "hubert", "layer": 1, "clusters": 16, "fit": {"segments": 8}},
            "acoustic": {"kind": "encodec", "quantizers": 4},
        },
        "tokens": {"seed": {"cut": "two_seconds", "semantic": "semantic", "acoustic": "acoustic"}},
        "defaults": {"audiolm": {"tokens": "seed"}},
    }
    config["experiments"]["mine"]["generate"] = {"clips": 2}
    steps = {"training": {"steps": 3, "batch_size": 2}}
    config["experiments"]["mine"]["stages"] = dict.fromkeys(("semantic", "coarse", "fine"), steps)
    workspace.config("heard", config)
    return workspace, config


def test_they_take_the_embedded_ones_place(heard):
    workspace, _ = heard
    configs = [SMOKE, workspace.folder / "heard.yaml"]
    clips = "results/clips/mine/seed-0/draw-0"
    workspace.by_hand(clips, *VERIFIED, "--before", configs=configs)
    for name in ("semantic", "acoustic"):
        with (workspace.folder / f"results/verified/mine/{name}.csv").open() as file:
            checks = {row["check"]: row["passed"] for row in csv.DictReader(file)}
        assert checks["missing_tensors"] == checks["parameters"] == "true"
    assert checks["round_trip"] == "false"  # the networks are random, and it says so
    again = workspace.run("-n", clips, *VERIFIED, configs=configs)
    assert not jobs(again)
    said = workspace.etude("generate", "--experiment", "mine", "--configfile", *configs)
    assert (workspace.folder / "track1.wav").is_file(), said.stderr


def test_nothing_runs_on_weights_that_do_not_work(heard):
    workspace, config = heard
    config["pretrained"]["encodec"]["verify"] = "strict"
    strict = workspace.config("strict", config)
    tokens = "results/tokens/mine/seed/0000.jsonl"
    # What was made by hand has no record of its settings that a change could be seen by.
    again = ["--forcerun", "verify_models"]
    done = workspace.run(tokens, *again, configs=[SMOKE, strict], check=False)
    assert done.returncode
    assert "do not work: round_trip" in done.stderr + done.stdout
    assert "Traceback" not in workspace.text("results/logs/verify_models/mine/acoustic.log")


@pytest.mark.parametrize("preset", ["expo", "expo_etude"])
def test_the_expo_plans_before_its_files_are_there(preset, workspace):
    """And says what to get and where to put it; a run stops before anything starts."""
    config = ROOT / f"config/presets/{preset}.yaml"
    said = (done := workspace.run("-n", configs=[config])).stdout + done.stderr
    assert "expo-data/midi, expo-data/TimbresOfHeaven.sf2" in said
    assert "hubert_base_ls960_L9_km500.bin" in said
    assert {"fetch_weights", "verify_models", "train_stage"} <= jobs(done)
    run = workspace.run(configs=[config], check=False)
    assert run.returncode
    assert "has to be brought by hand" in run.stderr + run.stdout
    assert not (workspace.folder / "results/corpora").exists()


@pytest.mark.parametrize(
    ("preset", "said", "rules"),
    [
        ("expo_released", "semantic.transformer.25000.pt", {"import_weights", "verify_models"}),
        ("ti_musicgen_released", "<run>-best.pt", {"import_weights", "verify_text"}),
        ("audio_tune", "model_config.json", {"import_weights", "encode_stage"}),
    ],
)
def test_released_weights_are_planned_without_a_training(preset, said, rules, workspace):
    """Before its files are there; what they are is said."""
    done = workspace.run("-n", configs=[ROOT / f"config/presets/{preset}.yaml"])
    planned = jobs(done)
    assert said in done.stdout + done.stderr
    assert {"generate_clips", "score_fad", "find_memorisation", "build_report"} | rules <= planned
    assert "train_stage" not in planned
