"""The package wandb itself, offline: it is in no environment of Étude's, so it is installed aside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from etude.storage import read_csv

pytestmark = pytest.mark.proof
ROOT = Path(__file__).resolve().parents[2]

TRAINING = """
import sys
from pathlib import Path
from packed import make_packed
from etude.config.systems.audiolm import AudioLm
from etude.errors import UserError
from etude.systems.base import Parts
from etude.training.stage import train_stage

training = {"steps": 6, "batch_size": 4, "validate_every": 2, "tracking": ["wandb"]}
stage = {"network": {"dim": 16, "depth": 1, "heads": 2}, "training": training}
how = AudioLm(system="audiolm", corpus="c", fine_frames=5, stages={"semantic": stage})
parts = Parts(packed=make_packed(Path("packed")))
try:
    train_stage(how, "semantic", 0, parts, Path("model"), Path("state"), Path("curves"))
except UserError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def wandb(tmp_path_factory):
    """A folder with the package, in the version that pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = re.search(r'"(wandb==[\d.]+)"', text)[1]
    folder = tmp_path_factory.mktemp("wandb")
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "pip", "install", "--quiet", "--target", str(folder), wanted], check=True)
    return folder


def train(wandb, folder, **variables):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(wandb)])
    own = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    own |= {"PYTHONPATH": path, "HOME": str(folder), "OMP_NUM_THREADS": "1"} | variables
    command = [sys.executable, "-c", TRAINING]
    return subprocess.run(
        command, cwd=folder, env=own, capture_output=True, text=True, check=False, timeout=300
    )


def test_curves_are_kept_offline(wandb, tmp_path):
    done = train(wandb, tmp_path, WANDB_MODE="offline")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = list(tmp_path.glob("curves/wandb/offline-run-*/*.wandb"))
    assert len(runs) == 1
    assert runs[0].stat().st_size > 500
    assert len(list(read_csv(tmp_path / "model/history.csv"))) >= 3


def test_without_a_login_it_is_said_in_words(wandb, tmp_path):
    done = train(wandb, tmp_path)
    assert done.returncode == 1
    assert "wandb begins no run" in done.stderr
    assert "wandb login" in done.stderr
    assert "Traceback" not in done.stderr
