"""Prefix extraction from models of symbols: what is known by heart is found, nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from symbols import NETWORKS, SHAPE, VOCABULARY, WINDOW

from etude.config import Memorisation
from etude.config.systems.symbolic_lm import SymbolicStage
from etude.metrics.memorisation.extraction import write_extraction
from etude.metrics.memorisation.rows import extraction_rows
from etude.storage import read_csv, write_json
from etude.systems.base import Parts
from etude.systems.symbolic_lm import prefixes as symbolic_prefixes
from etude.systems.symbolic_lm.prefixes import continuation
from etude.systems.symbolic_lm.sampling import continue_tokens
from etude.systems.symbolic_lm.stage import SymbolicLmStage

GIVEN = 8  # tokens of what the model is made to know


def make(tmp_path, *, bos, held_out=10, pieces=10):
    """A model, and training windows that are what it says; held-out windows are chance."""
    datasets = pytest.importorskip("datasets")
    torch.manual_seed(0)
    shape = SHAPE | {"bos": bos, "eos": None}
    network = SymbolicStage.model_validate({"network": NETWORKS["music_transformer"]}).network
    stage = SymbolicLmStage(shape, network).eval()
    stage.save(tmp_path / "model")
    random = np.random.default_rng(0)
    packed = tmp_path / "packed"
    for split, items in (("train", 2 * pieces), ("valid", held_out), ("test", 0)):
        ids = random.integers(3, VOCABULARY, (items, WINDOW)).tolist()
        if split == "train":  # a window that begins a piece is seen behind its beginning's id
            begin = [] if bos is not None else [SHAPE["pad"]]
            starts = [[*(begin if not i % 2 else []), *row[:GIVEN]] for i, row in enumerate(ids)]
            more = [continue_tokens(stage, [start], WINDOW - GIVEN)[0] for start in starts]
            ids = [row[:GIVEN] + rest for row, rest in zip(ids, more, strict=True)]
        rows = {
            "piece": [f"{split}_{i // 2}" for i in range(items)],
            "window": [i % 2 for i in range(items)],
            "input_ids": ids,
        }
        datasets.Dataset.from_dict(rows).save_to_disk(str(packed / split), num_shards=1)
    write_json(packed / "info.json", shape | {"window": WINDOW})
    return tmp_path / "model", packed


def extract(model, packed, lengths, output):
    settings = Memorisation(prefixes=6, prefix_tokens=lengths, continued_tokens=8)
    parts = Parts(packed=packed, models={"lm": model})
    write_extraction("symbolic_lm", parts, settings, 0, output)


@pytest.mark.slow
@pytest.mark.parametrize("bos", [1, None])
def test_what_a_model_knows_by_heart_is_found(bos, tmp_path):
    model, packed = make(tmp_path, bos=bos)
    output = tmp_path / "extraction.csv"
    extract(model, packed, (GIVEN + 2, 16, WINDOW), output)
    rows = {(r["items"], r["prefix"], r["metric"]): r for r in read_csv(output)}
    for prefix in (str(GIVEN + 2), "16"):
        assert rows["train", prefix, "exact"]["value"] == "1.000000"
        assert rows["train", prefix, "nearly"]["n"] == "6", "no more than were asked for"
        assert rows["held_out", prefix, "exact"]["value"] == "0.000000"
        assert rows["held_out", prefix, "exact"]["n"] == "5", "a window of each piece"
    missing = rows["train", str(WINDOW), "exact"]
    assert missing["value"] == ""
    assert f"{WINDOW + 8} are needed" in missing["note"]
    again = tmp_path / "again.csv"
    extract(model, packed, (GIVEN + 2, 16, WINDOW), again)
    assert again.read_bytes() == output.read_bytes()
    metrics = {(r["clips"], r["metric"]) for r in extraction_rows(read_csv(output))}
    assert ("prefixes_held_out", "extracted_nearly_after_16") in metrics


def test_a_corpus_without_held_out_music_has_no_control(tmp_path):
    model, packed = make(tmp_path, bos=1, held_out=0, pieces=2)
    extract(model, packed, (16,), tmp_path / "extraction.csv")
    (found,) = (r for r in read_csv(tmp_path / "extraction.csv") if r["items"] == "held_out")
    assert found["note"] == "n/a: there are no held_out items"


def test_where_no_beginning_is_asked_for_no_model_is_opened(tmp_path):
    output = tmp_path / "extraction.csv"
    write_extraction("symbolic_lm", Parts(), Memorisation(prefixes=0), 0, output)
    (found,) = read_csv(output)
    assert found["note"] == "n/a: not asked for (prefixes: 0)"


@pytest.mark.parametrize(("eos", "rest"), [(2, [2, 2]), (None, [-1, -1])])
def test_a_piece_that_ends_is_not_gone_on_with(eos, rest, monkeypatch):
    monkeypatch.setattr(symbolic_prefixes, "continue_tokens", lambda *_: [[5, 6], [5, 6, 7, 8]])
    stage = type("Stage", (), {"shape": {"eos": eos}})()
    made = continuation(stage)(np.ones((2, 3), np.int64), 4)
    assert made.tolist() == [[5, 6, *rest], [5, 6, 7, 8]]
