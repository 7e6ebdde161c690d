"""Symbolic models in the common loop: resume, data, augmentation, packing, learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from refused import refused
from safetensors.torch import load_file
from symbols import NETWORKS, VOCABULARY, WINDOW, make_symbolic, symbolic_experiment
from trainings import changed, stop_after

from etude.config import TrainingSettings
from etude.storage import read_csv
from etude.systems.base import Parts
from etude.systems.symbolic_lm.data import PackedRows, Shifts, TokenWindows
from etude.systems.symbolic_lm.stage import SymbolicLmStage, load_stage
from etude.training.loop import Interrupted
from etude.training.optimiser import build_optimiser, learning_rate
from etude.training.stage import copy_kept_step, import_stage, stage_fingerprint, train_stage

KINDS = sorted(NETWORKS)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_symbolic(tmp_path_factory.mktemp("packed"))


def train(packed, tmp_path, name, kind="gpt2", should_stop=lambda: False, **training):
    folder = tmp_path / name
    train_stage(
        symbolic_experiment(kind, **training), "lm", 0, Parts(packed=packed), folder,
        tmp_path / f"state-{name.split('-')[0]}", should_stop=should_stop,
    )  # fmt: skip
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_gives_the_same_bytes(kind, packed, tmp_path):
    options = {"ema_decay": 0.9, "use": "best"}
    whole = train(packed, tmp_path, "whole", kind, **options)
    with pytest.raises(Interrupted):
        train(packed, tmp_path, "broken-1", kind, should_stop=stop_after(5), **options)
    resumed = train(packed, tmp_path, "broken-2", kind, **options)
    for name in ("model.safetensors", "config.json", "history.csv", "curve.svg", "card.md"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name
    rows = list(read_csv(whole / "history.csv"))
    assert rows[-1]["perplexity"]
    assert rows[-1]["accuracy"]
    assert "symbolic language model" in (whole / "card.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_overfits_one_batch(kind, tmp_path):
    packed = make_symbolic(tmp_path / "packed", train=4)
    steps = {"steps": 120, "learning_rate": 5e-3, "schedule": "constant", "validate_every": 200}
    folder = tmp_path / "model"
    network = {"dim": 32}
    trained = train_stage(
        symbolic_experiment(kind, network, **steps),
        "lm",
        0,
        Parts(packed=packed),
        folder,
        tmp_path / "state",
    )
    assert trained.history[-1]["train_loss"] < 0.35  # random ids: 3.1 nats before


@pytest.mark.slow
def test_kept_steps_and_weights_from_elsewhere(packed, tmp_path):
    whole = train(packed, tmp_path, "whole", keep_steps=[6, 12])
    wanted = symbolic_experiment("gpt2", keep_steps=[6, 12])
    copy_kept_step(
        wanted, "lm", 0, 12, parts=Parts(packed=packed), state_root=tmp_path / "state-whole",
        output=tmp_path / "step-12.safetensors",
    )  # fmt: skip
    kept, last = load_file(tmp_path / "step-12.safetensors"), load_file(whole / "model.safetensors")
    assert kept.keys() == last.keys()
    assert all(torch.equal(kept[name], last[name]) for name in kept)
    given = wanted.model_dump()
    given["stages"]["lm"] |= {"weights": str(whole)}
    given["stages"]["lm"]["training"]["keep_steps"] = []
    imported = type(wanted).model_validate(given)
    parts = Parts(packed=packed)
    import_stage(imported, "lm", 0, parts, whole / "model.safetensors", tmp_path / "imported")
    again = load_file(tmp_path / "imported" / "model.safetensors")
    assert all(torch.equal(again[name], last[name]) for name in last)


def test_fingerprint_follows_what_decides(packed):
    parts = Parts(packed=packed)
    base = stage_fingerprint(symbolic_experiment(), "lm", parts, 0)
    assert stage_fingerprint(symbolic_experiment(keep_steps=[3]), "lm", parts, 0) == base
    augmented = symbolic_experiment(augment={"share": 0.1})
    assert stage_fingerprint(augmented, "lm", parts, 0) != base
    assert stage_fingerprint(symbolic_experiment("llama"), "lm", parts, 0) != base
    assert stage_fingerprint(symbolic_experiment(), "lm", changed(packed, window=64), 0) != base


def test_checkpoint_of_audio_tokens_is_refused(packed):
    with refused("token-set-not-of-notes"):
        stage_fingerprint(symbolic_experiment(), "lm", changed(packed, kind=None), 0)


def test_windows_are_filled_up_and_begun(packed):
    windows = TokenWindows(packed / "train", pad=0, begin=23)
    batch = windows.batch([0, 1, 2])
    assert batch["ids"][0, 0] == 23  # the only first window
    assert batch["ids"][1, 0] == 1
    assert batch["ids"].shape[1] == int(batch["lengths"].max())
    for row, length in zip(batch["ids"], batch["lengths"], strict=True):
        assert row[length - 1] == 2
        assert not row[length:].any()


def test_packed_rows_predict_every_token_once(packed):
    rows = PackedRows(16, packed / "train", 0)
    windows = TokenWindows(packed / "train", 0)
    stream = np.concatenate(windows.rows(rows.order.tolist()))
    batch = rows.batch(list(range(len(rows))))
    targets = np.concatenate([r[1:n] for r, n in zip(batch["ids"], batch["lengths"], strict=True)])
    assert (targets == stream[1 : 1 + len(targets)]).all()
    assert len(stream) - 1 - len(targets) < 16
    assert (batch["lengths"] == 17).all()


NAMES = ["PAD", "BOS", *(f"Pitch_{p}" for p in range(60, 66)), "Velocity_15", "Velocity_23"]


def test_augmentation_moves_pitch_and_velocity():
    shifts = Shifts(NAMES, 2, 4)
    assert shifts.pitch[1].tolist() == [0, 1, 3, 4, 5, 6, 7, -1, 8, 9]
    assert shifts.velocity[4].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]  # halfway stays
    assert Shifts(NAMES, 2, 5).velocity[5].tolist()[-2:] == [9, 9]
    ids = np.array([1, 4, 5, 8])
    found = [shifts.change(ids, 1.0, place).tolist() for place in np.linspace(0, 0.99, 40)]
    moved = {row[1] - 4 for row in found}
    assert moved == {-2, -1, 0, 1, 2}
    assert all(row[2] - row[1] == 1 and row[0] == 1 for row in found)
    assert shifts.change(ids, 0.0, 0.5).tolist() == ids.tolist()
    high = np.array([7])
    assert shifts.change(high, 1.0, 0.3).tolist() in ([5], [6], [7])  # never out of range
    with refused("cannot-be-transposed"):
        Shifts(["a", "b"], 2, 2)


def test_augmentation_of_remi_z_leaves_drums():
    names = ["p-126", "p-127", "drum-0", "drum-1", "d-60", "o-60", "v-3", "v-4"]
    shifts = Shifts(names, 1, 1)
    assert shifts.pitch[1].tolist() == [1, -1, 2, 3, 4, 5, 6, 7]
    assert shifts.velocity[1].tolist() == [0, 1, 2, 3, 4, 5, 7, 7]


def test_schedules_of_the_seeds():
    one = TrainingSettings(
        steps=100, warmup_steps=20, learning_rate=1.0, schedule="one_cycle", final_ratio=4e-6
    )
    parameter = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.AdamW([parameter], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=1.0, total_steps=100, pct_start=0.2)
    for step in range(100):
        assert learning_rate(step, one) == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-9)
        theirs.step()
        if step < 99:
            cycle.step()
    line = TrainingSettings(
        steps=110, warmup_steps=10, learning_rate=2.0, schedule="linear", final_ratio=0
    )
    assert [learning_rate(s, line) for s in (0, 9, 10, 60, 109)] == pytest.approx(
        [0.2, 2.0, 2.0, 1.0, 0.02]
    )


def test_gpt2_decays_its_matrices_and_nothing_else():
    stage = SymbolicLmStage(
        {"vocabulary": VOCABULARY, "context": WINDOW, "pad": 0, "bos": 1, "eos": 2},
        symbolic_experiment().stages.lm.network,
    )
    optimiser = build_optimiser(stage, TrainingSettings())
    decayed, plain = (group["params"] for group in optimiser.param_groups)
    assert len(decayed) == 2 * 4  # of each layer: attention in and out, feed-forward in and out
    assert len(decayed) + len(plain) == len(list(stage.parameters()))


def test_loaded_stage_is_the_trained_one(packed, tmp_path):
    folder = train(packed, tmp_path, "whole", "llama")
    stage = load_stage(folder)
    assert stage.shape["context"] == WINDOW
    assert not stage.training
