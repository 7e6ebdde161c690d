"""The tidy rows that every table of figures has: their columns, and what all rows of one share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etude.pretrained.origin import written
from etude.storage import read_json

COLUMNS = [
    "experiment", "system", "clips", "metric", "embedding", "reference", "split", "value",
    "ci_low", "ci_high", "n", "unit", "train_seed", "draw", "config_hash", "data_hash", "weights",
    "note",
]  # fmt: skip
REPLICATE_COLUMNS = ["embedding", "metric", "clips", "replicate", "value"]


def head(
    experiment: Any, name: str, clips: str, packed: Path | None, split: str = "test"
) -> dict[str, Any]:
    """What the rows of one table share.

    Args:
        clips: `seed-S/draw-D`, `seed-S` of what is measured of a training as a whole, or
            `baselines`, which are of no seed.
        packed: the token set that the experiment was trained on; None where nothing was.
        split: of the corpus, what is measured against.
    """
    found = dict(part.split("-") for part in clips.split("/") if "-" in part)
    info = read_json(packed / "info.json") if packed else {}
    return {
        "experiment": name,
        "system": experiment.system,
        "reference": f"{experiment.corpus} {split}",
        "split": split,
        "train_seed": found.get("seed", ""),
        "draw": found.get("draw", ""),
        "config_hash": config_hash(experiment),
        "data_hash": info.get("data_hash", ""),
        "weights": weights_in(info),
    }


def config_hash(experiment: Any) -> str:
    """A short hash of an experiment's settings; where its files lie is no setting."""
    values = experiment.model_dump(mode="json", exclude={"clips": True, "generate": {"prime"}})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def weights_in(info: Mapping[str, Any]) -> str:
    """Which weights of others made the tokens of a packed set, by its info.json; empty for none."""
    parts = info.get("weights", {}).values()
    return written(origin for part in parts for origin in part.values())
