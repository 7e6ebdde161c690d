"""Weights out and in: a run is exported, plays elsewhere, and goes on from there on other music."""

from __future__ import annotations

import music
import pytest
from workspace import SMOKE, Workspace, own_folder

pytestmark = pytest.mark.workflow
STAGES = ("semantic", "coarse", "fine")
MODEL = "results/models/second/{}/seed-0"
CLIPS = "results/clips/second/seed-0/draw-0"


@pytest.fixture(scope="module")
def exported(finished):
    folder = finished.folder / "to go/mine"
    configs = ["--configfile", SMOKE, finished.folder / "mine.yaml"]
    said = finished.etude("export", "--experiment", "mine", "--output", folder, *configs)
    assert said.stdout.split("\n")[0] == str(folder)
    return folder


def second(workspace: Workspace, exported, **stages) -> list:
    """Configuration of an experiment on other music with the tokenizers of the export."""
    config = own_folder(workspace.folder / "other music", "second")
    config["tokenizers"] = {
        name: {"fit": {"folder": str(exported / "tokenizers" / role)}}
        for name, role in (("bands", "semantic"), ("magnitude", "acoustic"))
    }
    given = {stage: {"weights": str(exported)} for stage in STAGES} | stages
    config["experiments"]["second"] |= {"stages": given, "generate": {"clips": 2}}
    return [SMOKE, workspace.config("second", config)]


def test_an_export_plays_the_same_bytes_anywhere(finished, exported, workspace):
    configs = ["--configfile", SMOKE, finished.folder / "mine.yaml"]
    own = ["--experiment", "mine", *configs, "--output", finished.folder / "own"]
    away = ["--from", exported, "--output", "track"]
    for where, arguments in ((finished, own), (workspace, away)):
        where.etude("generate", "--duration", "3", "--batch_size", "2", *arguments)
    for number in (1, 2):
        first = (finished.folder / f"own{number}.wav").read_bytes()
        assert (workspace.folder / f"track{number}.wav").read_bytes() == first
    assert not (workspace.folder / "results").exists()
    again = ["--experiment", "mine", *configs, "--output", exported]
    said = finished.etude("export", *again, check=False)
    assert said.returncode == 1
    assert "not empty" in said.stderr
    assert "Traceback" not in said.stderr


def test_an_export_goes_on_elsewhere_on_other_music(exported, workspace):
    music.make_piano(workspace.folder / "other music", 6, seed=9)
    tune = {"weights": {"path": str(exported), "fine_tune": True}, "training": {"steps": 4}}
    configs = second(workspace, exported, semantic=tune)
    workspace.by_hand(CLIPS, "--before", configs=configs)
    given = {s: (exported / f"models/{s}/model.safetensors").read_bytes() for s in STAGES}
    made = workspace.results()
    after = {s: made[f"{MODEL.format(s)}/model.safetensors"] for s in STAGES}
    assert [s for s in STAGES if given[s] != after[s]] == ["semantic"]
    assert len(list((workspace.folder / CLIPS).glob("*.wav"))) == 2
    log = workspace.text("results/logs/train_stage/second/semantic/seed-0.log")
    assert "another" not in log, "the tokenizers are the ones that the weights learned with"
    assert f"{MODEL.format('semantic')}/history.csv" in made
    assert f"{MODEL.format('coarse')}/history.csv" not in made
    assert str(exported).encode() not in b"".join(made.values())
    done = workspace.run("-n", CLIPS, configs=configs)
    assert "Nothing to be done" in done.stdout + done.stderr
    # All imported: nothing is trained any more.
    done = workspace.run("-n", "--forceall", CLIPS, configs=second(workspace, exported))
    assert "train_stage" not in done.stdout
    assert "import_weights" in done.stdout


def test_weights_may_come_from_another_experiment_of_the_same_run(workspace):
    music.make_piano(workspace.folder / "music", 4, seed=9)
    config = own_folder(workspace.folder / "music", "first")
    weights = {"path": "results/models/first/fine/seed-0", "fine_tune": True}
    config["experiments"]["second"] = {
        "system": "audiolm", "corpus": "first", "stages": {"fine": {"weights": weights}},
    }  # fmt: skip
    target = MODEL.format("fine") + "/model.safetensors"
    done = workspace.run("-n", target, configs=[SMOKE, workspace.config("both", config)])
    planned = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("train_st")}
    assert planned == {"2"}, "the first experiment's stage, then the second's from it"


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("no/such.safetensors", ["weights for the fine stage are not there", "such.safetensors"]),
        ("weights.pt", ["nobody vouches", "trust: true"]),
    ],
)
def test_weights_that_cannot_be_used_stop_before_anything_runs(weights, words, workspace):
    (workspace.folder / "weights.pt").write_bytes(b"")
    (workspace.folder / "music").mkdir()
    config = own_folder(workspace.folder / "music")
    config["experiments"]["mine"]["stages"] = {"fine": {"weights": weights}}
    done = workspace.run("-n", configs=[workspace.config("mine", config)], check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert all(word in said for word in words), said
    assert "Traceback" not in said
