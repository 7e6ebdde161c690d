"""Compiling and checkpointing change no result; utilisation; wandb by config."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from packed import QUANTIZERS
from refused import refused
from safetensors.torch import load_file
from symbols import NETWORKS, make_symbolic, symbolic_experiment
from trainings import experiment

from etude.config import TrainingSettings
from etude.storage import read_csv, read_json
from etude.systems.audiolm.building import build_stage
from etude.systems.audiolm.data import PackedData
from etude.systems.base import Parts
from etude.systems.symbolic_lm.data import TokenWindows
from etude.systems.symbolic_lm.stage import build_stage as build_symbolic
from etude.systems.symbolic_lm.system import SymbolicLmSystem
from etude.training import speed
from etude.training.stage import stage_fingerprint, train_stage


def step(model, batch):
    """Loss and gradients."""
    model.train()
    torch.manual_seed(3)
    loss, _ = model.loss(batch)
    loss.backward()
    named = torch.nn.Module.named_parameters(model)
    return loss.item(), [p.grad for _, p in named if p.grad is not None]


def same(model, other, batch, atol):
    first, second = step(model, batch), step(other, batch)
    assert first[0] == pytest.approx(second[0], abs=atol)
    assert len(first[1]) == len(second[1]) > 4
    for one, two in zip(first[1], second[1], strict=True):
        torch.testing.assert_close(one, two, atol=atol, rtol=1e-4)


def audiolm(packed):
    info = read_json(packed / "info.json")
    return (
        *(build_stage(experiment(), "semantic", info, 0) for _ in range(2)),
        PackedData(packed / "train", QUANTIZERS).batch([0, 1, 2]),
    )


def count_checkpoints(monkeypatch):
    calls = []
    plain = speed.checkpoint
    monkeypatch.setattr(speed, "checkpoint", lambda *a, **k: (calls.append(1), plain(*a, **k))[1])
    return calls


def test_checkpointing_changes_nothing_with_dropout(packed, monkeypatch):
    plain, other, batch = audiolm(packed)
    speed.prepare_network(other, TrainingSettings(checkpoint_activations=True))
    calls = count_checkpoints(monkeypatch)
    same(plain, other, batch, 1e-6)
    assert calls
    names = [set(m.state_dict()) for m in (plain, other)]
    assert names[0] == names[1]


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_checkpointing_of_symbols(kind, tmp_path, monkeypatch):
    packed = make_symbolic(tmp_path / "packed")
    info, wanted = read_json(packed / "info.json"), symbolic_experiment(kind)
    plain, other = (build_symbolic(wanted, "lm", info, 0) for _ in range(2))
    speed.prepare_network(other, TrainingSettings(checkpoint_activations=True))
    calls = count_checkpoints(monkeypatch)
    same(plain, other, TokenWindows(packed / "train", 0).batch([0, 1, 2]), 1e-6)
    assert len(calls) == 2, "two layers"


@pytest.mark.slow
@pytest.mark.skipif(not speed.has_compiler(), reason="torch.compile needs g++ or clang++")
def test_compiling_changes_next_to_nothing(packed):
    plain, other, batch = audiolm(packed)
    for model in (plain, other):  # dropout draws other numbers in compiled code
        for part in model.modules():
            if hasattr(part, "dropout"):
                part.dropout = 0.0
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    speed.prepare_network(other, TrainingSettings(compile=True))
    same(plain, other, batch, 1e-4)
    assert set(plain.state_dict()) == set(other.state_dict())


def test_no_compiler_is_said(packed, monkeypatch):
    monkeypatch.setattr(speed, "has_compiler", lambda: False)
    with refused("compiler-missing"):
        speed.prepare_network(audiolm(packed)[0], TrainingSettings(compile=True))


def test_an_unknown_network_cannot_be_checkpointed():
    with refused("cannot-be-checkpointed"):
        speed.prepare_network(torch.nn.Linear(1, 1), TrainingSettings(checkpoint_activations=True))


def test_unused_keys_change_no_params():
    assert not {"compile", "checkpoint_activations", "tracking"} & set(
        TrainingSettings().model_dump()
    )


# ------------------------------------------------------------------------------- utilisation


def test_flops_of_gpt2_by_hand(tmp_path):
    packed = make_symbolic(tmp_path / "packed")
    model = build_symbolic(symbolic_experiment(), "lm", read_json(packed / "info.json"), 0)
    batch = {"ids": torch.zeros(3, 11, dtype=torch.long)}
    weights = 2 * 12 * 16**2 + 24 * 16  # two layers of width 16; the head of 24 ids
    assert SymbolicLmSystem().flops(model, batch) == 3 * 10 * (6 * weights + 12 * 2 * 16 * 10)


@pytest.mark.parametrize(
    ("name", "bf16"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("Something else", None),
    ],
)
def test_peaks_by_name(name, bf16):
    assert speed.peak_of(name, "bf16") == bf16
    assert speed.peak_flops(torch.device("cpu"), "bf16") is None


@pytest.mark.slow
def test_timings_have_utilisation_where_the_peak_is_known(packed, tmp_path, monkeypatch):
    for peak, folder in ((None, tmp_path / "a"), (1e10, tmp_path / "b")):
        monkeypatch.setattr("etude.training.loop.peak_flops", lambda *_, peak=peak: peak)
        train_stage(experiment(), "semantic", 0, Parts(packed=packed), folder, folder / "state")
        rows = list(read_csv(folder / "timings.csv"))
        assert all((row["mfu"] == "") == (peak is None) for row in rows)
    assert 0 < float(rows[-1]["mfu"]) < 1


# ----------------------------------------------------------------------------------- tracking


@pytest.mark.slow
def test_wandb_gets_the_rows_and_changes_no_result(packed, tmp_path, monkeypatch):
    calls = {"log": [], "init": {}, "finish": 0}

    class Run:
        def log(self, figures, step):
            calls["log"].append((step, figures))

        def finish(self):
            calls["finish"] += 1

    def init(**options):
        calls["init"] = options
        return Run()

    stand_in = types.ModuleType("wandb")
    stand_in.init = init
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    plain, tracked = experiment(), experiment(tracking=["wandb"])
    parts = Parts(packed=packed)
    marks = {stage_fingerprint(e, "semantic", parts, 0) for e in (plain, tracked)}
    assert marks == {calls["init"].get("id", next(iter(marks)))}
    train_stage(plain, "semantic", 0, parts, tmp_path / "a", tmp_path / "s1", tmp_path / "t1")
    train_stage(tracked, "semantic", 0, parts, tmp_path / "b", tmp_path / "s2", tmp_path / "t2")
    assert {calls["init"]["id"]} == marks
    assert calls["log"][-1][0] == 12
    assert "valid_loss" in calls["log"][-1][1]
    assert calls["finish"] == 1
    assert list((tmp_path / "t1").glob("events*"))
    assert not list((tmp_path / "t2").glob("events*"))
    first, second = (load_file(tmp_path / f / "model.safetensors") for f in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_wandb_refuses_is_said_in_words(packed, tmp_path, monkeypatch):
    class Refused(Exception):
        pass

    def init(**options):
        raise Refused("api_key not configured (no-tty)")

    stand_in = types.ModuleType("wandb")
    stand_in.init, stand_in.errors = init, types.SimpleNamespace(Error=Refused)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    with refused("wandb-failed") as caught:
        train_stage(
            experiment(tracking=["wandb"]), "semantic", 0, Parts(packed=packed), tmp_path,
            tmp_path / "s", tmp_path / "t",
        )  # fmt: skip
    assert "api_key not configured" in caught.value.why
    for word in ("wandb login", "WANDB_API_KEY", "WANDB_MODE=offline"):
        assert word in caught.value.do


def test_a_missing_wandb_is_named_with_the_command(packed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    wanted = experiment(tracking=["tensorboard", "wandb"])
    parts = Parts(packed=packed)
    with refused("package-not-installed"):
        train_stage(wanted, "semantic", 0, parts, tmp_path, tmp_path / "s", tmp_path / "t")
