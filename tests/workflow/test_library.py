"""Which environment the rules of `backend: audiolm_pytorch` run in, by Snakemake's own plan."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import music
import pytest
from workspace import ROOT, SMOKE, jobs, own_folder

from etude.errors import UserError
from etude.workflow import audiolm_release

pytestmark = pytest.mark.workflow
NETWORK = {"backend": "audiolm_pytorch", "dim": 32, "depth": 1, "heads": 2}


@pytest.fixture
def mine(workspace, monkeypatch):
    """One coarse stage of the library's; the stand-in for conda of tests/conda."""
    music.make_chorales(workspace.folder / "music", 4, seed=1)
    settings = own_folder(workspace.folder / "music")
    settings["experiments"]["mine"]["stages"] = {"coarse": {"network": NETWORK}}
    workspace.configs = [SMOKE, workspace.config("mine", settings)]
    ours = [str(ROOT / "tests/conda/bin"), str(Path(sys.executable).parent)]
    monkeypatch.setenv("PATH", os.pathsep.join([*ours, os.environ["PATH"]]))
    return workspace


def test_a_stage_of_the_librarys_has_its_environment(mine):
    models = "results/models/mine/{}/seed-0/model.safetensors"
    for stage, expected in (("coarse", {"audiolm"}), ("fine", set())):
        words = ["--sdm", "conda", "--list-conda-envs", "--conda-prefix", mine.folder / "envs"]
        done = mine.run(models.format(stage), *words, configs=mine.configs)
        names = {
            Path(line.split("\t")[0]).stem for line in done.stdout.splitlines() if ".yaml" in line
        }
        assert names == {"corpus", "torch"} | expected, done.stdout


def test_without_conda_and_package_a_run_stops_before_it_starts(mine):
    assert "train_stage" in jobs(mine.run("-n", configs=mine.configs))
    with suppress(UserError):
        audiolm_release.check_installed()
        pytest.skip("the package is installed here")
    done = mine.run(configs=mine.configs, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert audiolm_release.INSTALL in said
    assert "Traceback" not in said
    assert not (mine.folder / "results/corpora").exists()
