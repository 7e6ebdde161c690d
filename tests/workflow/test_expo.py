"""The expo, shrunken: its preset on tiny networks of the same classes, every rule of it for real."""

from __future__ import annotations

import shutil

import music
import numpy as np
import pytest
import tiny_models
from workspace import ROOT, Workspace, jobs

from etude.setup import default_soundfont
from etude.storage import read_csv, read_json

pytestmark = pytest.mark.workflow
PRESETS = ROOT / "config" / "presets"
# Of the real one's rules these need fadtk's environment (tests/conda/test_fadtk.py runs them).
BY_FADTK = {"embed_clips_fadtk", "verify_embedding_fadtk"}
WITH_CLAP = {"embed_clips_pretrained", "verify_embedding"}  # in their place


def tiny(folder) -> dict:
    """What is laid over the preset: local models, few steps, small networks."""

    def part(kind, **more):
        path = {"path": str(folder / "models" / kind)}
        return {"kind": kind, "hub": None, "verify": "report"} | path | more

    training = {"steps": 4, "batch_size": 2, "validate_every": 2, "validate_items": 2}
    stage = {"training": training | {"save_every": 4}}
    small = {"network": {"dim": 32, "depth": 1, "heads": 2}}
    stages = ("semantic", "coarse", "fine")
    return {
        "corpora": {"expo": {"shards": 2}},
        "pretrained": {
            **{kind: part(kind) for kind in ("hubert", "encodec")},
            "clap-laion-audio": part("clap"),
            "km500": {"path": str(folder / "models" / "km500.npy")},
        },
        "defaults": {
            "audiolm": {
                "stages": dict.fromkeys(stages, stage),
                "generate": {"clips": 4, "seconds": 3},  # 3 s: a second window goes on
            }
        },
        "experiments": {"expo_etude": {"stages": dict.fromkeys(stages, small)}},
        "evaluation": {"memorisation": {"null_clips": 8, "planted": 0, "prefixes": 2}},
    }


@pytest.fixture(scope="module")
def expo(tmp_path_factory):
    """Music, SoundFont and models where the preset says, and all its scripts run in one process."""
    workspace = Workspace(tmp_path_factory.mktemp("expo"))
    data, models = workspace.folder / "expo-data", workspace.folder / "models"
    music.make_piano(data / "midi", 8, seed=2)
    (data / "TimbresOfHeaven.sf2").symlink_to(default_soundfont())
    tiny_models.make_hubert(models / "hubert", layers=9)
    tiny_models.make_encodec(models / "encodec")
    tiny_models.make_clap(models / "clap")
    np.save(models / "km500.npy", np.random.default_rng(0).standard_normal((500, 64)))
    configs = [PRESETS / "expo_etude.yaml", workspace.config("tiny", tiny(workspace.folder))]
    planned = jobs(workspace.run("-n", configs=configs))
    workspace.by_hand(configs=configs)
    return workspace, planned, configs


def test_every_rule_of_the_real_one_runs(expo, tmp_path):
    workspace, planned, _ = expo
    real = Workspace(tmp_path)
    shutil.copytree(workspace.folder / "expo-data", tmp_path / "expo-data", symlinks=True)
    (tmp_path / "expo-data" / "hubert_base_ls960_L9_km500.bin").touch()
    wanted = jobs(real.run("-n", configs=[PRESETS / "expo.yaml"]))
    assert wanted - planned == BY_FADTK
    assert planned - wanted == WITH_CLAP
    logs = {path.name for path in (workspace.folder / "results/logs").iterdir()}
    assert planned <= {name.removesuffix(".log") for name in logs}


def test_its_tokens_are_the_seeds(expo):
    workspace, *_ = expo
    info = read_json(workspace.folder / "results/packed/expo/expo/info.json")
    assert (info["semantic_vocabulary"], info["semantic_frames"]) == (500, 99)
    assert (info["quantizers"], info["acoustic_frames"], info["cut"]["rate"]) == (8, 150, 24000)
    # Only the fittings differ from the real ones: 500 given centres, not fitted.
    assert info["weights"]["semantic"].keys() == {"weights", "centres"}
    kept = list(read_csv(workspace.folder / "results/corpora/expo/pieces.csv"))
    assert all(row["status"] == "kept" for row in kept)


def test_its_clips_are_eight_seconds_in_small(expo):
    workspace, *_ = expo
    folder = workspace.folder / "results/clips/expo_etude/seed-0/draw-0"
    assert [row["seconds"] for row in read_csv(folder / "clips.csv")] == ["3.000"] * 4
    about = read_json(folder / "weights.json")
    assert about["pretrained"]["acoustic"]["weights"]["from"] == "encodec"
    assert set(about["stages"]) == {"semantic", "coarse", "fine"}


def test_every_figure_names_its_weights(expo):
    workspace, *_ = expo
    rows = list(read_csv(workspace.folder / "results/leaderboard.csv"))
    assert {row["metric"] for row in rows} >= {"frechet_distance", "kad", "memorised_exact"}
    for row in rows:
        names = {part.rpartition(" ")[0] for part in row["weights"].split("; ")}
        tokens = {"hubert", "km500.npy", "encodec"}
        if row["clips"] and not row["metric"].startswith("recall_"):
            assert names == tokens | ({"clap"} if row["embedding"].startswith("clap") else set())
    clap = [row for row in rows if row["embedding"] == "clap-laion-audio"]
    assert any(row["value"] for row in clap if row["clips"] == "generated")
    (line,) = (x for x in workspace.text("results/fad.txt").splitlines() if "(sha256)" in x)
    assert all(f" {name} " in line for name in (*tokens, "clap"))
    assert "clap-laion-audio" in workspace.text("results/report/index.html")


def test_its_parts_are_proven(expo):
    workspace, *_ = expo
    results = workspace.folder / "results"
    clap = "verified_embeddings/expo/expo/clap-laion-audio.csv"
    for name in ("verified/expo/hubert.csv", "verified/expo/encodec.csv", clap):
        checks = {row["check"]: row["passed"] for row in read_csv(results / name)}
        assert checks["missing_tensors"] == checks["parameters"] == "true"
    assert {"kad_real", "kad_shuffled", "kad_noise"} <= checks.keys()


def test_its_criteria_are_checked(expo):
    workspace, *_ = expo
    rows = list(read_csv(workspace.folder / "results/criteria/expo_etude.csv"))
    losses = {row["of"]: row for row in rows if row["criterion"] == "loss"}
    assert losses.keys() == {"semantic", "coarse", "fine"}
    assert {row["verdict"] for row in losses.values()} == {"FAILED"}  # four steps
    (copies,) = (row for row in rows if row["criterion"] == "exact_matches")
    assert (copies["verdict"], copies["value"]) == ("met", "0")
    last = workspace.text("results/criteria/expo_etude.txt").splitlines()[-1]
    assert last == "criteria: NOT met: loss of semantic, loss of coarse, loss of fine"


def test_no_training_on_a_clap_that_does_not_work(expo):
    """Before any training: the plan has its proof in front of each stage."""
    workspace, _, configs = expo
    strict = {"pretrained": {"clap-laion-audio": {"verify": "strict"}}}
    target = "results/models/expo_etude/semantic/seed-0/model.safetensors"
    configs = [*configs, workspace.config("strict", strict)]
    said = jobs(workspace.run(target, "-n", "-R", "verify_embedding", configs=configs))
    assert "verify_embedding" in said
