"""What a training can do beside the plain run: average, choose, stop early, forget, share a batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from packed import QUANTIZERS
from refused import refused
from safetensors.torch import load_file
from trainings import experiment, stop_after

from etude.config import TrainingSettings
from etude.config.systems.audiolm import AudioLm
from etude.storage import read_csv, read_json
from etude.systems.audiolm.codebook_transformer import forgetful_mask
from etude.systems.audiolm.data import PackedData
from etude.systems.base import Parts
from etude.training.data import training_batch, validation_batches
from etude.training.launch import launch
from etude.training.loop import Interrupted, average_of, fit
from etude.training.stage import train_stage
from etude.training.state import TrainingState

ROOT = Path(__file__).resolve().parents[2]


def run(packed, folder, should_stop=lambda: False, **training):
    wanted, parts = experiment(validate_every=2, **training), Parts(packed=packed)
    train_stage(wanted, "semantic", 0, parts, folder, folder / "state", should_stop=should_stop)
    return folder


def valid_losses(folder):
    return [float(r["valid_loss"]) for r in read_csv(folder / "history.csv") if r["valid_loss"]]


class Scripted(torch.nn.Linear):
    """A model whose validation losses are given; its weight counts the steps."""

    def __init__(self, losses):
        super().__init__(1, 1, bias=False)
        torch.nn.init.zeros_(self.weight)
        self.given = iter(losses)

    def loss(self, batch):
        if self.training:
            return -self.weight.sum(), {"accuracy": 0.0, "count": 1}
        return torch.tensor(next(self.given)), {"accuracy": 0.0, "count": 1}


def scripted(packed, folder, losses, **training):
    model = Scripted(losses)
    settings = TrainingSettings(
        steps=len(losses), batch_size=8, warmup_steps=0, validate_every=1, schedule="constant",
        **training,
    )  # fmt: skip
    data = (PackedData(packed / split, QUANTIZERS) for split in ("train", "valid"))
    return model, fit(model, *data, settings, 0, TrainingState(folder))


# ------------------------------------------------------------------------- averaging, choosing


def test_the_average_follows_its_formula():
    model = torch.nn.Linear(1, 1, bias=False)
    average, expected = average_of(model, 0.9), None
    for step in range(30):
        torch.nn.init.constant_(model.weight, float(step))
        average.update_parameters(model)
        kept = min(0.9, (1 + step) / (10 + step))
        expected = float(step) if expected is None else kept * expected + (1 - kept) * step
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_averaged_weights_are_validated_and_written(packed, tmp_path):
    plain = load_file(run(packed, tmp_path / "plain") / "model.safetensors")
    averaged = load_file(run(packed, tmp_path / "ema", ema_decay=0.9) / "model.safetensors")
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
    assert valid_losses(tmp_path / "plain") != valid_losses(tmp_path / "ema")


def test_best_weights_are_those_of_the_lowest_validation_loss(packed, tmp_path):
    losses = [5.0, 3.0, 4.0, 4.5]
    best, trained = scripted(packed, tmp_path / "best", losses, use="best")
    last, _ = scripted(packed, tmp_path / "last", losses)
    assert len(trained.history) == 4
    second, _ = scripted(packed, tmp_path / "second", losses[:2])
    assert best.weight.item() == second.weight.item() < last.weight.item()


def test_training_stops_after_patience(packed, tmp_path, caplog):
    caplog.set_level("INFO", "etude")
    losses = [5.0, 3.0, 4.0, 3.0, 2.0, 1.0]
    _, trained = scripted(packed, tmp_path / "a", losses, patience=2)
    assert [row["step"] for row in trained.history] == [1, 2, 3, 4]
    assert "stopped early at step 4" in caplog.text
    _, again = scripted(packed, tmp_path / "a", losses, patience=2, keep_steps=[6])
    assert again.restored, "a step that was never reached does not make it train again"


@pytest.mark.slow
def test_all_options_together_resume_to_the_same_bytes(packed, tmp_path):
    options = {
        "ema_decay": 0.9, "use": "best", "patience": 4, "label_smoothing": 0.1,
        "forgetful_mask": 0.15, "precision": "bf16", "accumulate": 2,
    }  # fmt: skip
    whole = run(packed, tmp_path / "whole", **options)
    for steps in (5, 3):
        with pytest.raises(Interrupted):
            run(packed, tmp_path / "broken", stop_after(steps), **options)
    resumed = run(packed, tmp_path / "broken", **options)
    for name in ("model.safetensors", "history.csv"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name


# ----------------------------------------------------------------------------- regularisation


def test_the_forgetful_mask_hides_the_share_and_never_the_token_itself():
    torch.manual_seed(0)
    mask = forgetful_mask(64, 50, 0.3, torch.device("cpu"))
    assert mask.shape == (64, 1, 50, 50)
    assert mask.diagonal(dim1=2, dim2=3).all()
    assert mask[..., 0].all(), "the first token is the ground to stand on"
    assert not mask.triu(1).any()
    inner = torch.ones(50, 50).tril(-1).bool()
    inner[:, 0] = False
    assert mask[:, 0, inner].float().mean() == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("option", [{"label_smoothing": 0.2}, {"forgetful_mask": 0.3}])
def test_regularisation_is_of_training_only(option, packed):
    from etude.systems.audiolm.building import build_stage

    info = read_json(packed / "info.json")
    batch = PackedData(packed / "train", QUANTIZERS).batch([0, 1, 2])
    plain, other = (build_stage(experiment(), "semantic", info, 0) for _ in range(2))
    for name, value in option.items():
        setattr(other, name, value)
    plain.eval(), other.eval()
    assert plain.loss(batch)[0] == other.loss(batch)[0]
    plain.train(), other.train()
    torch.manual_seed(1)
    first = plain.loss(batch)[0]
    torch.manual_seed(1)
    assert first != other.loss(batch)[0]


# ---------------------------------------------------------------------------------- precision


@pytest.mark.slow
def test_bf16_learns_as_fp32_does(packed, tmp_path):
    options = {"steps": 40, "learning_rate": 3e-3}
    full = valid_losses(run(packed, tmp_path / "fp32", **options))
    half = valid_losses(run(packed, tmp_path / "bf16", precision="bf16", **options))
    assert half[0] == pytest.approx(full[0], rel=0.01)
    assert half == pytest.approx(full, rel=0.03)
    assert half != full, "nothing was computed in bfloat16"
    weights = load_file(tmp_path / "bf16/model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


# ------------------------------------------------------------------------------- many devices


def test_processes_share_a_batch_and_the_validation(packed):
    data = PackedData(packed / "train", QUANTIZERS)
    whole = training_batch(data, 6, 3, seed=0)
    parts = [training_batch(data, 6, 3, 0, part, 2) for part in (0, 1)]
    for name, tensor in whole.items():
        assert torch.equal(tensor[0::2], parts[0][name])
        assert torch.equal(tensor[1::2], parts[1][name])
    batches = [list(validation_batches(data, 4, 100, part, 2)) for part in (0, 1)]
    assert sum(len(batch["semantic"]) for part in batches for batch in part) == len(data)


def test_a_batch_smaller_than_the_processes_is_refused(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    data = PackedData(packed / "train", QUANTIZERS)
    with refused("batch-too-small", 3):
        fit(Scripted([1.0]), data, None, TrainingSettings(batch_size=2), 0, TrainingState(tmp_path))


SHARED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from etude.systems.base import Parts
from etude.training.stage import train_stage
plain = dict(dim=16, depth=1, heads=2)
stages = dict(semantic=dict(network=plain, training=dict(
    optimizer={optimizer!r},
    steps=4, batch_size=6, warmup_steps=0, validate_every=2, accumulate=2, ema_decay=0.5)))
from etude.config.systems.audiolm import AudioLm
wanted = AudioLm(system="audiolm", corpus="c", stages=stages, fine_frames=5)
folder = Path(sys.argv[1])
train_stage(wanted, "semantic", 0, Parts(packed=Path({packed!r})), folder, folder / "state")
"""


def start(code, folder, index, count, port):
    variables = {
        "RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    target = folder / f"rank-{index}"
    command = [sys.executable, "-c", code, str(target)]
    return subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.proof)])
def test_two_processes_train_what_one_does(optimizer, packed, tmp_path):
    """Same global batch, same gradients, so nearly the same weights after four steps."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = SHARED.format(root=str(ROOT), packed=str(packed), optimizer=optimizer)
    alone = start(code, tmp_path / "one", 0, 1, port)
    assert alone.wait(120) == 0, alone.stderr.read()
    both = [start(code, tmp_path / "two", index, 2, port) for index in (0, 1)]
    for process in both:
        assert process.wait(120) == 0, process.stderr.read()
    one = load_file(tmp_path / "one/rank-0/model.safetensors")
    two, other = (load_file(tmp_path / f"two/rank-{i}/model.safetensors") for i in (0, 1))
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=0)
        assert torch.equal(two[name], other[name]), "all processes hold the same weights"
    losses = [valid_losses(tmp_path / folder) for folder in ("one/rank-0", "two/rank-0")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert list((tmp_path / "two/rank-0/state").glob("*/finished.pt"))
    assert not list((tmp_path / "two/rank-1/state").glob("*/finished.pt")), "the first writes"


@pytest.mark.slow
def test_a_training_on_two_devices_is_launched(packed, tmp_path, monkeypatch):
    """The loss curve is that of one process at the same global batch, to 1e-4."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    options = {"steps": 6, "batch_size": 6, "validate_every": 2, "save_every": 100}
    plain = {"semantic": {"network": {"dim": 16, "depth": 1, "heads": 2}}}
    folders = {n: tmp_path / str(n) / "e/semantic/seed-0" for n in (1, 2)}
    for number, folder in folders.items():
        plain["semantic"]["training"] = options | {"devices": number}
        wanted = AudioLm(system="audiolm", corpus="c", fine_frames=5, stages=plain)
        parts, root = Parts(packed=packed), tmp_path / f"state-{number}"
        paths = {"parts": parts, "folder": folder, "state_root": root}
        if number == 1:
            train_stage(wanted, "semantic", 0, **paths)
            continue
        given = paths | {
            "experiment": wanted.stage_params("semantic"),
            "stage": "semantic",
            "seed": 0,
        }
        assert not launch(given, 2, 2, lambda: False)
    losses = [valid_losses(folder) for folder in folders.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    with refused("device-failed", 2):
        launch(given | {"parts": Parts(packed=tmp_path / "nowhere")}, 2, 2, lambda: False)
