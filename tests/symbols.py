"""Symbolic token sets and experiments, small enough for unit tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etude.config.systems.symbolic_lm import SymbolicLm
from etude.storage import write_json

VOCABULARY, WINDOW = 24, 32
TINY = {"layers": 2, "heads": 2, "dim": 16}
NETWORKS = {
    "gpt2": {"kind": "gpt2", **TINY, "dropout": 0.0},
    "llama": {"kind": "llama", **TINY, "key_value_heads": 1},
    "music_transformer": {"kind": "music_transformer", **TINY, "dropout": 0.0},
}
SHAPE = {"vocabulary": VOCABULARY, "context": WINDOW, "pad": 0, "bos": 1, "eos": 2}


def make_symbolic(folder: Path, train: int = 12, valid: int = 5, seed: int = 0, **info) -> Path:
    """Packed windows of random ids, of 8 to 32 tokens; `info` goes over info.json."""
    datasets = pytest.importorskip("datasets")
    random = np.random.default_rng(seed)
    for split, items in (("train", train), ("valid", valid), ("test", 0)):
        lengths = random.integers(8, WINDOW + 1, items)
        ids = [[1, *random.integers(3, VOCABULARY, n - 2).tolist(), 2] for n in lengths]
        rows = {
            "piece": [f"{split}_{i}" for i in range(items)],
            "window": list(range(items)),
            "transpose": [0] * items,
            "input_ids": ids,
        }
        datasets.Dataset.from_dict(rows).save_to_disk(str(folder / split), num_shards=1)
    base = {
        "kind": "symbolic", "data_hash": f"{seed:064x}", "vocabulary": VOCABULARY, "pad": 0,
        "bos": 1, "eos": 2, "window": WINDOW, "tokenizers": {"symbolic": "0" * 64},
        "splits": {s: {"items": n, "pieces": n} for s, n in (("train", train), ("valid", valid))},
    }  # fmt: skip
    write_json(folder / "info.json", base | info)
    return folder


def symbolic_experiment(kind: str = "gpt2", network=None, **training) -> SymbolicLm:
    """A model that trains in a second; `training` goes over its settings."""
    training = {
        "steps": 12, "batch_size": 4, "warmup_steps": 2, "save_every": 3, "validate_every": 5,
        "learning_rate": 3e-3,
    } | training  # fmt: skip
    network = NETWORKS[kind] | (network or {})
    stages = {"lm": {"network": network, "training": training}}
    return SymbolicLm(system="symbolic_lm", corpus="c", tokens="t", stages=stages)
