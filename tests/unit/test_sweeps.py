"""Sweeps: a grid over any keys becomes experiments with readable names."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from etude.config import DEFAULT, load_config, merge
from etude.config.sweeps import MOST, slug
from etude.config.whole import NAME
from etude.errors import UserError

RATE = "stages.coarse.training.learning_rate"


def with_sweep(grid, base="audiolm", name="size", **over):
    raw = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    raw["tokens"]["other"] = raw["tokens"]["embedded"]
    return merge(raw, {"sweep": {name: {"base": base, "grid": grid}}, "run": [name], **over})


def complaint(*arguments, **over):
    with pytest.raises(UserError) as caught:
        load_config(with_sweep(*arguments, **over))
    return str(caught.value)


def test_every_combination_is_an_experiment():
    config = load_config(with_sweep({RATE: [1e-3, 2e-3], "tokens": ["embedded", "other"]}))
    names = [f"size-{rate}-{t}" for rate in ("0p001", "0p002") for t in ("embedded", "other")]
    assert config.run == names
    assert list(config.experiments)[-len(names) :] == names
    last = config.experiments[names[-1]]
    assert (last.tokens, last.stages.coarse.training.learning_rate) == ("other", 0.002)
    base = config.experiments["audiolm"]
    assert last.stages.fine == base.stages.fine, "all else is the base's"
    assert base.stages.coarse.training.learning_rate == 2e-3


def test_a_run_may_hold_both():
    config = load_config(with_sweep({"coarse_quantizers": [1, 3]}, run=["audiolm", "size"]))
    assert config.run == ["audiolm", "size-1", "size-3"]
    twice = load_config(with_sweep({"coarse_quantizers": [1, 3]}, run=["size-3", "size"]))
    assert twice.run == ["size-3", "size-1"]
    one = load_config(with_sweep({"coarse_quantizers": [1, 3]}, run=["size-3"]))
    assert one.run == ["size-3"]


def test_defaults_lie_under_a_sweep_too():
    deep = {"audiolm": {"generate": {"clips": 5}}}
    config = load_config(with_sweep({"coarse_quantizers": [1]}, defaults=deep))
    assert config.experiments["size-1"].generate.clips == 5


def test_parts_of_a_stage_hang_on_their_own_keys_only():
    config = load_config(with_sweep({RATE: [1e-3, 5e-3]}))
    semantic = {config.experiments[name].stage_params("semantic") for name in config.run}
    assert len(semantic) == 1, "one training serves all: its state is found by these"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.001, "0p001"), ("1e-3", "0p001"), (1e-5, "1em05"), (-2, "m2"), (2.0, "2"), (True, "true"),
        (None, "none"), ("piece_end", "piece_end"), ([0, 1], "0_1"), ("a b/c", "a_b_c"),
    ],
)  # fmt: skip
def test_values_are_written_so_that_a_name_may_hold_them(value, name):
    assert slug(value) == name


def test_long_values_and_sets_of_keys_end_with_a_hash():
    assert slug({"dim": 64, "depth": 2}) != slug({"dim": 6, "depth": 42})
    assert slug("x" * 50) != slug("x" * 51)
    assert len(slug("x" * 500)) < 30


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(JSON)
def test_any_value_makes_a_name_that_is_allowed_and_stays(value):
    name = f"sweep-{slug(value)}"
    assert NAME.fullmatch(name)
    assert len(name) < 40
    assert slug(value) == slug(value)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (
            {"stages.coarse.training.learnin_rate": [1]},
            ["sweep.size.grid", f"did you mean '{RATE}'?", "`stages.coarse.training`", "batch_size"],
        ),
        ({"stags.coarse.training.steps": [1]}, ["did you mean 'stages.coarse.training.steps'?"]),
        ({"corpus.limit": [3]}, ["`corpus` of the experiment holds no keys"]),
        ({"generate.sampling.topk": [3]}, ["did you mean 'generate.sampling.top_k'?"]),
        ({"coarse_quantizers": [1, 1]}, ["two experiments are called 'size-1'"]),
        ({"coarse_quantizers": []}, ["sweep.size.grid.coarse_quantizers", "at least 1"]),
        ({}, ["sweep.size.grid", "at least 1"]),
        ({"coarse_quantizers": 3}, ["sweep.size.grid.coarse_quantizers", "list"]),
        ({RATE: [-1]}, ["experiments.size-m1.stages.coarse.training.learning_rate", "it is -1"]),
        (
            {"seeds.train": [[n] for n in range(MOST)], "coarse_quantizers": [1, 2]},
            ["200 combinations (100 x 2)", "100 are allowed", "several sweeps"],
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_said_once_and_clearly(grid, words):
    text = complaint(grid)
    assert all(word in text for word in words), text
    assert "do:" in text


def test_a_base_or_a_name_that_is_wrong():
    assert "did you mean 'audiolm'?" in complaint({"tokens": ["other"]}, base="audilm")
    assert "of a sweep and of an experiment" in complaint({"tokens": ["other"]}, name="audiolm")
    assert "did you mean 'size'?" in complaint({"tokens": ["other"]}, run=["sise"])


@pytest.mark.parametrize("nonsense", [3, None, [], "audiolm", {"stages": 3}, {"system": "none"}])
def test_a_base_that_is_no_experiment_is_said_as_such(nonsense):
    raw = with_sweep({RATE: [1e-3]}, base="mine")
    raw["experiments"]["mine"] = nonsense
    with pytest.raises(UserError, match=r"experiments\.mine"):
        load_config(raw)


def test_networks_may_be_swept():
    networks = [{"dim": 64, "heads": 2}, {"dim": 128, "heads": 2}]
    config = load_config(with_sweep({"stages.fine.network": networks}))
    assert [config.experiments[n].stages.fine.network.dim for n in config.run] == [64, 128]


def test_optimisers_can_be_compared():
    key = "stages.coarse.training.optimizer"
    config = load_config(with_sweep({key: ["adamw", "muon"]}))
    found = [config.experiments[n].stages.coarse.training for n in ("size-adamw", "size-muon")]
    assert [training.optimizer for training in found] == ["adamw", "muon"]
    assert "did you mean 'muon'?" in complaint({key: ["muom"]})
