"""Muon: which weights it takes, what it does to them, and that a training with it resumes."""

from __future__ import annotations

import pytest
import torch
from refused import refused
from safetensors.torch import load_file
from symbols import NETWORKS, SHAPE, make_symbolic, symbolic_experiment
from torch import nn
from trainings import experiment, stop_after

from etude.config import TrainingSettings
from etude.storage import read_csv, read_json
from etude.systems.audiolm.building import build_stage
from etude.systems.base import Parts
from etude.systems.symbolic_lm.stage import SymbolicLmStage
from etude.training.loop import Interrupted
from etude.training.muon import Matrix, Muon, matrices, orthogonal
from etude.training.optimiser import build_optimiser, learning_rates, set_rates
from etude.training.stage import stage_fingerprint, train_stage

MUON = {"optimizer": "muon", "muon_learning_rate": 6e-3}


def names_of(model: nn.Module) -> dict[str, int]:
    """Names of what Muon takes, and in how many parts."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {names[id(m.weight)]: m.parts for m in matrices(model)}


def symbolic(kind: str) -> SymbolicLmStage:
    return SymbolicLmStage(SHAPE, symbolic_experiment(kind).stages.lm.network)


# -------------------------------------------------------------------------- which weights it takes


def test_audiolms_blocks_are_taken_and_its_heads_are_not(packed):
    stage = build_stage(experiment(), "semantic", read_json(packed / "info.json"), 0)
    found = names_of(stage)
    begin = "transformer.blocks.0."
    assert found == {
        f"{begin}query_key_value.weight": 3,
        f"{begin}attention_out.weight": 1,
        f"{begin}feed_forward.1.weight": 1,
        f"{begin}feed_forward.3.weight": 1,
    }


@pytest.mark.parametrize("kind", NETWORKS)
def test_symbolic_networks_give_their_layers(kind):
    found = names_of(symbolic(kind))
    of_a_layer = {"gpt2": 4, "llama": 7, "music_transformer": 4}[kind]
    assert len(found) == 2 * of_a_layer
    assert not [n for n in found if "head" in n or "embed" in n or "wte" in n or "wpe" in n]
    fused = [n for n, parts in found.items() if parts == 3]
    assert len(fused) == (0 if kind == "llama" else 2)


class Own(nn.Module):
    """What a user may bring: a GRU, heads, a place embedding, a convolution, a tied output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(9, 8), nn.Parameter(torch.zeros(5, 8))
        self.gru, self.lstm = nn.GRU(8, 6), nn.LSTM(6, 6)
        self.attention = nn.MultiheadAttention(6, 2)
        self.blocks = nn.ModuleList([nn.ModuleDict({"heads": nn.Linear(6, 8)})])
        self.narrow, self.conv = nn.Linear(8, 1), nn.Conv1d(8, 8, 3)
        self.heads = nn.ModuleList([nn.Linear(8, 9)])
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.out = nn.Linear(8, 9, bias=False)
        self.out.weight = self.embedding.weight


def test_a_network_of_ones_own_is_known_by_its_layers():
    assert names_of(Own()) == {
        "gru.weight_ih_l0": 3, "gru.weight_hh_l0": 3,
        "lstm.weight_ih_l0": 4, "lstm.weight_hh_l0": 4,
        "attention.in_proj_weight": 3, "attention.out_proj.weight": 1,
        "blocks.0.heads.weight": 1,
    }  # fmt: skip


def test_each_weight_has_one_optimiser():
    model = Own()
    both = build_optimiser(model, TrainingSettings(optimizer="muon"))
    parts = [p for o in (both.muon, both.adamw) for g in o.param_groups for p in g["params"]]
    assert len(parts) == len({id(p) for p in parts}) == len(list(model.parameters()))


def test_a_network_without_matrices_is_told():
    with refused("nothing-for-muon") as caught:
        build_optimiser(nn.Conv1d(2, 2, 2), TrainingSettings(optimizer="muon"))
    assert "optimizer: adamw" in str(caught.value)


# --------------------------------------------------------------------------- what it does to them


def test_a_batch_of_matrices_is_made_orthogonal():
    torch.manual_seed(0)
    for rows, columns in ((20, 20), (8, 30), (30, 8)):
        u, _, v = torch.linalg.svd(torch.randn(3, rows, columns), full_matrices=False)
        values = torch.linspace(0.05, 1, min(rows, columns))
        made = orthogonal(u @ torch.diag(values) @ v)
        size = torch.linalg.svdvals(made)
        assert size.min() > 0.6
        assert size.max() < 1.25
        inside = u.mT @ made @ v.mT  # the singular vectors have stayed
        off = inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))
        assert off.abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(12, 12), (6, 18), (18, 6)])
def test_a_step_is_that_of_torchs_muon(shape):
    """torch's computes in bfloat16, so it is equal to its precision."""
    torch.manual_seed(0)
    begin = torch.randn(shape)
    ours, theirs = (nn.Parameter(begin.clone()) for _ in range(2))
    mine = Muon([Matrix(ours)], 0.01, 0.1)
    torchs = torch.optim.Muon([theirs], 0.01, 0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        torchs.step()
    moved = (theirs - begin).norm()
    assert (ours - theirs).norm() < 0.03 * moved


@pytest.mark.parametrize("dim", [0, 1])
def test_a_fused_matrix_is_trained_as_its_parts_are(dim):
    torch.manual_seed(0)
    three = [nn.Parameter(torch.randn(8, 8)) for _ in range(3)]
    fused = nn.Parameter(torch.cat([part.detach() for part in three], dim))
    apart, whole = Muon([Matrix(p) for p in three], 0.01, 0), Muon([Matrix(fused, 3, dim)], 0.01, 0)
    for _ in range(4):
        for part in three:
            part.grad = torch.randn(8, 8)
        fused.grad = torch.cat([part.grad for part in three], dim)
        apart.step()
        whole.step()
    assert torch.equal(fused.detach(), torch.cat([part.detach() for part in three], dim))
    unsplit = nn.Parameter(fused.detach().clone())
    unsplit.grad = fused.grad.clone()
    Muon([Matrix(unsplit)], 0.01, 0).step()
    whole.step()
    assert not torch.allclose(unsplit, fused), "the parts make a difference"


def test_both_optimisers_follow_one_schedule():
    settings = TrainingSettings(
        steps=100, warmup_steps=10, learning_rate=1e-3, optimizer="muon", muon_learning_rate=5e-3
    )
    both = build_optimiser(Own(), settings)
    for step in (0, 9, 60):
        set_rates(both, step, settings)
        muon, adamw = ({g["lr"] for g in o.param_groups} for o in (both.muon, both.adamw))
        assert [*muon] == pytest.approx([5 * rate for rate in adamw])
    assert learning_rates(9, settings) == pytest.approx(
        {"learning_rate": 1e-3, "muon_learning_rate": 5e-3}
    )
    unsaid = TrainingSettings(optimizer="muon", learning_rate=1e-3, warmup_steps=0)
    assert learning_rates(0, unsaid)["muon_learning_rate"] == pytest.approx(4e-3)


# ------------------------------------------------------------------------------------ in trainings


def run(packed, folder, should_stop=lambda: False, tensorboard=None, **training):
    parts = Parts(packed=packed)
    train_stage(
        experiment(**training), "semantic", 0, parts, folder, folder / "state",
        tensorboard=tensorboard, should_stop=should_stop,
    )  # fmt: skip
    return folder


def test_adamw_is_the_default_and_nothing_of_it_has_changed(packed):
    """Neither its settings, so no finished training is made again, nor what resumes."""
    assert TrainingSettings().optimizer == "adamw"
    assert not {"optimizer", "muon_learning_rate"} & TrainingSettings().model_dump().keys()
    assert type(build_optimiser(Own(), TrainingSettings())) is torch.optim.AdamW
    prints = {
        stage_fingerprint(experiment(**options), "semantic", Parts(packed=packed), 0)
        for options in ({}, {"optimizer": "adamw"}, {"optimizer": "muon"}, MUON)
    }
    assert len(prints) == 3


@pytest.mark.slow
def test_a_stopped_training_gives_the_same_bytes(packed, tmp_path):
    options = MUON | {"ema_decay": 0.9, "accumulate": 2}
    whole = run(packed, tmp_path / "whole", **options)
    for steps in (5, 3):
        with pytest.raises(Interrupted):
            run(packed, tmp_path / "broken", stop_after(steps), **options)
    state = torch.load(next((tmp_path / "broken/state").glob("*/state.pt")), weights_only=True)
    assert state["optimiser"].keys() == {"muon", "adamw"}
    resumed = run(packed, tmp_path / "broken", **options)
    for name in ("model.safetensors", "history.csv"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name
    plain = load_file(run(packed, tmp_path / "adamw") / "model.safetensors")
    assert plain.keys() == load_file(whole / "model.safetensors").keys()


def test_both_rates_are_logged(packed, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run(packed, tmp_path / "model", tensorboard=tmp_path / "curves", **MUON)
    last = list(read_csv(folder / "history.csv"))[-1]
    assert float(last["muon_learning_rate"]) == pytest.approx(3 * float(last["learning_rate"]))
    events = EventAccumulator(str(tmp_path / "curves"))
    events.Reload()
    assert {"learning_rate", "muon_learning_rate"} <= set(events.Tags()["scalars"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_overfits_one_batch(kind, tmp_path):
    packed = make_symbolic(tmp_path / "packed", train=4)
    options = MUON | {"steps": 100, "schedule": "constant", "validate_every": 200}
    trained = train_stage(
        symbolic_experiment(kind, {"dim": 32}, **options), "lm", 0, Parts(packed=packed),
        tmp_path / "model", tmp_path / "state",
    )  # fmt: skip
    assert trained.history[-1]["train_loss"] < 0.35  # random ids: 3.1 nats before
