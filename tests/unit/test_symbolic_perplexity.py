"""Held-out perplexity: each token once, the network's by its own logits, the baselines in order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from symbols import make_symbolic, symbolic_experiment

from etude.metrics import perplexity
from etude.storage import read_json
from etude.systems.symbolic_lm.families import all_logits
from etude.systems.symbolic_lm.stage import build_stage


def rows(windows, piece="a", transpose=0):
    return {
        "piece": [piece] * len(windows),
        "transpose": [transpose] * len(windows),
        "window": list(range(len(windows))),
        "input_ids": windows,
    }


def dataset(table):
    return pytest.importorskip("datasets").Dataset.from_dict(table)


def test_windows_are_joined_where_they_overlap_and_scored_once():
    whole = np.random.default_rng(0).integers(0, 20, 80)
    windows = [whole[:40].tolist(), whole[20:60].tolist(), whole[40:80].tolist()]
    arrays = [np.array(w) for w in windows]
    (joined,) = perplexity.joined(arrays)
    assert np.array_equal(joined, whole)
    assert len(perplexity.joined([whole[:40], whole[50:]])) == 2
    found = perplexity.held_out(dataset(rows(windows)), 10)
    assert [first for *_, first in found] == [1, 20, 20]
    assert sum(len(ids) - first for _, ids, first in found) == 79


def test_the_networks_perplexity_is_of_its_own_logits(tmp_path):
    packed = make_symbolic(tmp_path)
    stage = build_stage(symbolic_experiment(), "lm", read_json(packed / "info.json"), 0).eval()
    generator = np.random.default_rng(0)
    windows = [("a", generator.integers(3, 24, n), 1) for n in (9, 20, 5)]
    found = perplexity.network_nats(stage, windows)
    for nats, (_, ids, _) in zip(found, windows, strict=True):
        with torch.inference_mode():
            logits = all_logits(stage.network, torch.from_numpy(ids)[None, :-1]).float()[0]
        expected = -logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
        assert nats == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_pattern_is_foreseen_by_the_ngram_and_not_by_the_shuffled(tmp_path):
    packed = make_symbolic(tmp_path)
    tables = {"train": [], "test": []}
    for split in tables:
        tables[split] = [[(s + i) % 11 + 3 for i in range(30)] for s in range(8)]
    for split, windows in tables.items():
        table = rows(windows)
        table["piece"] = [f"{split}{i}" for i in range(8)]
        dataset(table).save_to_disk(str(packed / split))
    stage = build_stage(symbolic_experiment(), "lm", read_json(packed / "info.json"), 0)
    found, drawn = perplexity.perplexities(stage, packed, most=6, replicates=5)
    values = {row["clips"]: float(row["value"]) for row in found}
    assert values["ngram"] < 1.3
    assert 10.9 < values["shuffled"] < 11.5
    assert values["generated"] > 10  # it has learnt nothing
    for row in found:
        assert row["n"] == 6 * 29
        assert float(row["ci_low"]) <= float(row["value"]) + 1e-6
    assert len(drawn) == 15


def test_an_empty_test_split_is_said(tmp_path):
    packed = make_symbolic(tmp_path)
    found, drawn = perplexity.perplexities(None, packed, most=6, replicates=5)
    assert all(row["note"].startswith("n/a") for row in found)
    assert not drawn
    assert math.isnan(perplexity.ngram_of([np.array([1, 2])], 24).perplexity([]))
