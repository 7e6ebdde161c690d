"""The models in models/ are what their cards say; and weights in 16 bits."""

import argparse
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from tiny_experiments import make_notes

from etude.generation.command import generate
from etude.generation.export import export
from etude.generation.manifest import read_exported
from etude.studio.arguments import MODELS
from etude.studio.nearest import open_index

SHIPPED = sorted(place.parent for place in MODELS.glob("*/export.json"))
MOST_BYTES = 8 * 2**20
OPTIONS = {
    "experiment": None, "configfile": [], "train_seed": None, "duration": 2.0, "clips": 1,
    "prime": None, "text": None, "guidance": None, "seed": 3, "temperature": None,
    "top_k": None, "top_p": None, "hop": None, "fade": 0.5, "set": [], "progress": None,
}  # fmt: skip


def made(folder, output):
    generate(argparse.Namespace(**OPTIONS, exported=folder, output=str(output)))
    return soundfile.read(f"{output}1.wav")[0]


def test_all_models_together_are_small():
    files = [file for place in SHIPPED for file in place.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda place: place.name)
def test_a_shipped_model_is_what_its_card_says(folder):
    found = read_exported(folder)
    found.check_files()
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"# {found.name}\n" in card
    assert found.experiment.corpus in card
    assert re.search(r"^license: ", card, re.MULTILINE), "the head names the licence"
    assert "## Rights\n" in card
    assert "No licence is given here" not in card, "it is written in before it is passed on"
    for weights in folder.rglob("model.safetensors"):
        kinds = {tensor.dtype for tensor in load_file(weights).values()}
        assert kinds <= {torch.float16, torch.int64, torch.uint8}
    assert open_index(folder) is not None


@pytest.mark.slow
@pytest.mark.parametrize("folder", SHIPPED, ids=lambda place: place.name)
def test_a_shipped_model_plays(folder, tmp_path):
    wave = made(folder, tmp_path / "track")
    assert np.abs(wave).max() > 0.01
    assert np.isfinite(wave).all()


@pytest.mark.slow
def test_weights_in_16_bits_are_half_as_large_and_play(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = make_notes(tmp_path)
    for half in (False, True):
        export(settings, "notes", None, Path(f"half-{half}"), half=half)
    whole, small = (Path(f"half-{half}/models/lm/model.safetensors") for half in (False, True))
    assert small.stat().st_size < 0.6 * whole.stat().st_size
    read_exported(Path("half-True")).check_files()
    assert math.isfinite(np.abs(made(Path("half-True"), "a")).max())
    assert (made(Path("half-True"), "a") == made(Path("half-True"), "b")).all()
