"""The loop: exact resume, schedule, data order, history, errors a user can make."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest
import torch
from packed import QUANTIZERS
from refused import refused
from safetensors.torch import load_file
from trainings import changed, experiment, stop_after

from etude.config import TrainingSettings
from etude.config.systems.audiolm import AudioLm
from etude.storage import read_csv
from etude.systems.audiolm.data import PackedData
from etude.systems.base import Parts, TrainingMetric
from etude.training.card import _steps
from etude.training.data import step_indices, validation_batches
from etude.training.loop import Hooks, Interrupted, fit
from etude.training.optimiser import build_optimiser, learning_rate
from etude.training.stage import copy_kept_step, stage_fingerprint, train_stage
from etude.training.state import TrainingState, fingerprint, state_of


def train(packed, tmp_path, name, should_stop=lambda: False, **training):
    folder = tmp_path / name
    train_stage(
        experiment(**training), "semantic", 0, Parts(packed=packed), folder,
        tmp_path / f"state-{name.split('-')[0]}", should_stop=should_stop,
    )  # fmt: skip
    return folder


OUTPUTS = ("model.safetensors", "config.json", "history.csv", "curve.svg", "card.md")


@pytest.mark.slow
def test_stopped_and_resumed_gives_the_same_bytes(packed, tmp_path):
    whole = train(packed, tmp_path, "whole")
    with pytest.raises(Interrupted):
        train(packed, tmp_path, "broken-1", should_stop=stop_after(5))
    with pytest.raises(Interrupted):
        train(packed, tmp_path, "broken-2", should_stop=stop_after(3))
    resumed = train(packed, tmp_path, "broken-3")
    for name in OUTPUTS:
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name


@pytest.mark.slow
def test_killed_without_warning_gives_the_same_bytes(packed, tmp_path):
    whole = train(packed, tmp_path, "whole")

    def die():
        calls.append(1)
        if len(calls) == 8:  # the state of step 6 is the last one saved
            raise KeyboardInterrupt
        return False

    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        train(packed, tmp_path, "broken-1", should_stop=die)
    resumed = train(packed, tmp_path, "broken-2")
    for name in OUTPUTS:
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name


@pytest.mark.slow
def test_a_finished_training_is_restored(packed, tmp_path, caplog):
    first = train(packed, tmp_path, "one-1")
    caplog.set_level("INFO", "etude")
    again = train(packed, tmp_path, "one-2")
    assert "finished already" in caplog.text
    assert (first / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_another_seed_or_setting_has_another_state(packed):
    parts = Parts(packed=packed)
    base = stage_fingerprint(experiment(), "semantic", parts, 0)
    assert base == stage_fingerprint(experiment(keep_steps=[4], save_every=9), "semantic", parts, 0)
    assert base != stage_fingerprint(experiment(steps=13), "semantic", parts, 0)
    assert base != stage_fingerprint(experiment(), "semantic", parts, 1)
    assert base != stage_fingerprint(experiment(), "semantic", changed(packed, data_hash="1"), 0)
    assert fingerprint({}, 0, "a", ["x"]) != fingerprint({}, 0, "a", ["y"])


@pytest.mark.slow
def test_a_damaged_state_counts_as_none(packed, tmp_path):
    whole = train(packed, tmp_path, "whole")
    with pytest.raises(Interrupted):
        train(packed, tmp_path, "broken-1", should_stop=stop_after(5))
    state = next((tmp_path / "state-broken").glob("*/state.pt"))
    state.write_bytes(state.read_bytes()[:100])
    resumed = train(packed, tmp_path, "broken-2")
    assert (whole / "history.csv").read_bytes() == (resumed / "history.csv").read_bytes()


def test_a_second_writer_is_kept_out(packed, tmp_path):
    state = TrainingState(tmp_path / "state")
    with state.locked():
        second = TrainingState(tmp_path / "state").locked(should_stop=lambda: True)
        with refused("training-already-runs"), second:
            pass


@pytest.mark.slow
def test_a_second_training_waits_and_takes_the_result(packed, tmp_path, caplog):
    """Two runs that want the same training: it is made once."""
    first = train(packed, tmp_path, "one-1")
    state = next(path for path in (tmp_path / "state-one").iterdir() if (path / "lock").exists())
    caplog.set_level("INFO", "etude")
    held, over = threading.Event(), threading.Event()

    def hold():
        with TrainingState(state).locked():
            held.set()
            over.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(30)
    threading.Timer(1.5, over.set).start()
    second = train(packed, tmp_path, "one-2")
    other.join()
    assert over.is_set()
    assert "runs in another process already; waiting for it" in caplog.text
    assert "finished already" in caplog.text
    for name in OUTPUTS:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_training_says_which_state_is_its_own(packed, tmp_path):
    train(packed, tmp_path, "one-1")
    root = tmp_path / "state-one"
    (ref,) = (path for path in (root / "refs").rglob("*") if path.is_file())
    assert (root / ref.read_text().strip() / "finished.pt").is_file()


def test_kept_steps_are_there(packed, tmp_path):
    train(packed, tmp_path, "one", keep_steps=[4, 12])
    copy_kept_step(
        experiment(keep_steps=[4, 12]), "semantic", 0, 12, parts=Parts(packed=packed),
        state_root=tmp_path / "state-one", output=tmp_path / "step-12.safetensors",
    )  # fmt: skip
    kept, final = (
        load_file(tmp_path / "step-12.safetensors"),
        load_file(tmp_path / "one/model.safetensors"),
    )
    assert all(torch.equal(kept[name], final[name]) for name in final)


def test_history_has_the_validation_per_token(packed, tmp_path):
    rows = list(read_csv(train(packed, tmp_path, "one") / "history.csv"))
    assert [row["step"] for row in rows] == ["5", "10", "12"]
    last = rows[-1]
    assert float(last["perplexity"]) == pytest.approx(
        torch.tensor(float(last["valid_loss"])).exp().item(), rel=1e-4
    )


class Means(torch.nn.Module):
    """Item i has a loss of i over i + 1 tokens, and a figure of its own over 10 - i notes."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def loss(self, batch):
        (i,) = batch["items"].tolist()
        figures = {
            "count": i + 1,
            "accuracy": 10.0 * i,
            "note_f1": float(i),
            "note_f1_count": 10 - i,
        }
        return self.weight.sum() + i, figures


class Numbers:
    def __len__(self):
        return 4

    def batch(self, indices, places=None):
        return {"items": torch.tensor(indices)}


def test_a_figure_is_a_mean_over_what_it_says(tmp_path):
    names = (TrainingMetric("accuracy", "share"), TrainingMetric("note_f1", "share"))
    settings = TrainingSettings(steps=1, batch_size=1, warmup_steps=0, learning_rate=1e-9)
    found = fit(Means(), Numbers(), Numbers(), settings, 0, TrainingState(tmp_path), figures=names)
    row = found.history[-1]
    tokens, notes = [1, 2, 3, 4], [10, 9, 8, 7]
    assert row["accuracy"] == pytest.approx(np.average([0, 10, 20, 30], weights=tokens))
    assert row["note_f1"] == pytest.approx(np.average([0, 1, 2, 3], weights=notes))


def test_without_a_validation_split_training_goes_on(packed, tmp_path):
    (tmp_path / "state").mkdir()
    model = torch.nn.Linear(1, 1)
    model.loss = lambda batch: (model(torch.ones(1, 1)).sum() ** 2, {"accuracy": 0.0, "count": 1})
    data = PackedData(packed / "train", QUANTIZERS)
    empty = PackedData(packed / "test", QUANTIZERS)
    settings = TrainingSettings(steps=5, batch_size=2, warmup_steps=0)
    trained = fit(model, data, empty, settings, 0, TrainingState(tmp_path / "state"))
    assert trained.history[-1]["valid_loss"] is None


def test_nothing_to_train_on_is_a_clear_error(packed, tmp_path):
    empty = PackedData(packed / "test", QUANTIZERS)
    with refused("nothing-to-train-on"):
        fit(
            torch.nn.Linear(1, 1), empty, None, TrainingSettings(), 0, TrainingState(tmp_path / "s")
        )


def test_a_loss_that_is_no_number_stops(packed, tmp_path):
    model = torch.nn.Linear(1, 1)
    model.loss = lambda batch: (
        model(torch.ones(1, 1)).sum() * torch.nan,
        {"accuracy": 0.0, "count": 1},
    )
    data = PackedData(packed / "train", QUANTIZERS)
    with refused("training-diverged", "step 0"):
        fit(model, data, None, TrainingSettings(steps=5), 0, TrainingState(tmp_path / "s"))


def test_on_validate_is_called(packed, tmp_path):
    model = torch.nn.Linear(1, 1)
    model.loss = lambda batch: (model(torch.ones(1, 1)).sum() ** 2, {"accuracy": 0.0, "count": 1})
    seen = []
    hooks = Hooks(on_validate=lambda step, m: seen.append((step, m)))
    settings = TrainingSettings(steps=5, batch_size=2, validate_every=2)
    fit(
        model,
        PackedData(packed / "train", QUANTIZERS),
        None,
        settings,
        0,
        TrainingState(tmp_path / "s"),
        hooks,
    )
    assert seen == [(2, model), (4, model), (5, model)]


def test_who_looks_on_reads_the_history_while_it_trains(packed, tmp_path):
    """The rows so far lie in the state, by the name of the training, also after a stop."""
    root, name, seen = tmp_path / "state", "mine/semantic/seed-0", []

    def look():
        state = state_of(root, name)
        seen.append(state.history.is_file() and list(read_csv(state.history))[-1]["step"])
        return seen.count("10") > 1

    assert state_of(root, name) is None
    for stop in (look, lambda: False):
        with contextlib.suppress(Interrupted):
            train_stage(
                experiment(), "semantic", 0, Parts(packed=packed),
                tmp_path / "models" / name, root, should_stop=stop,
            )  # fmt: skip
    assert list(dict.fromkeys(seen)) == [False, "5", "10"]
    live, written = state_of(root, name).history, tmp_path / "models" / name / "history.csv"
    assert [row["step"] for row in read_csv(live)] == ["5", "10", "12"]
    assert live.read_bytes() == written.read_bytes()


def test_a_card_is_of_the_weights_that_are_written():
    losses = {10: 3.0, 20: 2.0, 30: 2.5}
    history = [{"step": s, "valid_loss": losses.get(s)} for s in (5, 10, 15, 20, 25, 30)]
    said = {
        use: _steps(TrainingSettings(steps=steps, use=use, warmup_steps=1), history)
        for use, steps in (("last", 30), ("best", 40))
    }
    assert said["last"] == ("30", 2.5)
    assert said["best"] == ("30 of 40; the weights are of step 20", 2.0)
    assert _steps(TrainingSettings(steps=30), [{"step": 30, "valid_loss": None}]) == ("30", None)


def test_every_epoch_sees_every_item_once():
    steps = [step_indices(10, 4, step, seed=3) for step in range(5)]
    flat = [i for step in steps for i in step]
    assert sorted(flat[:10]) == sorted(flat[10:20]) == list(range(10))
    assert flat[:10] != flat[10:20]


def test_a_batch_may_be_larger_than_the_data():
    assert sorted(step_indices(2, 6, 0, seed=0)) == [0, 0, 0, 1, 1, 1]


def test_validation_is_a_fixed_spread(packed):
    data = PackedData(packed / "valid", QUANTIZERS)
    batches = list(validation_batches(data, 2, limit=3))
    assert [len(b["semantic"]) for b in batches] == [2, 1]
    again = list(validation_batches(data, 2, limit=3))
    assert all(
        torch.equal(a["acoustic"], b["acoustic"]) for a, b in zip(batches, again, strict=True)
    )


def test_learning_rate_warms_up_and_falls():
    settings = TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0, final_ratio=0.1)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)


def test_only_matrices_decay():
    model = torch.nn.Sequential(
        torch.nn.Embedding(3, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)
    )
    decayed, plain = build_optimiser(model, TrainingSettings()).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 4)]
    assert len(plain["params"]) == 4


@pytest.mark.slow
def test_accumulation_equals_one_large_batch(packed, tmp_path):
    def weights(name, **training):
        plain = {"dim": 16, "depth": 1, "heads": 2}
        settings = {"steps": 3, "warmup_steps": 0, **training}
        stages = {"semantic": {"network": plain, "training": settings}}
        end = {"end_of_sequence": "none", "fine_frames": 5}
        wanted = AudioLm(system="audiolm", corpus="c", stages=stages, **end)
        parts = Parts(packed=packed)
        train_stage(wanted, "semantic", 0, parts, tmp_path / name, tmp_path / f"state-{name}")
        return load_file(tmp_path / name / "model.safetensors")

    one, two = weights("one", batch_size=4), weights("two", batch_size=2, accumulate=2)
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-4, rtol=0)
