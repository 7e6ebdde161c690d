"""A packed token set of random tokens, for tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from etude.storage import write_json

QUANTIZERS, FRAMES = 4, 15


def make_packed(
    folder: Path, seed: int = 0, train: int = 12, semantic: int = 20, frames: int = FRAMES, **info
) -> Path:
    """`train` training and 5 validation segments of 0.4 s; `info` goes over info.json."""
    datasets = pytest.importorskip("datasets")
    generator = torch.Generator().manual_seed(seed)
    for split, items in (("train", train), ("valid", 5), ("test", 0)):
        rows = {
            "segment": [f"{split}_{i:05d}" for i in range(items)],
            "piece": [split] * items,
            "last": [i % 4 == 3 for i in range(items)],
            "semantic": torch.randint(16, (items, semantic), generator=generator).tolist(),
            "acoustic": torch.randint(
                8, (items, QUANTIZERS * frames), generator=generator
            ).tolist(),
        }
        datasets.Dataset.from_dict(rows).save_to_disk(str(folder / split), num_shards=1)
    base = {
        "data_hash": f"{seed:064x}",
        "splits": {s: {"items": n, "pieces": 1} for s, n in (("train", train), ("valid", 5))},
        "quantizers": QUANTIZERS, "codebook_size": 8, "semantic_vocabulary": 16,
        "semantic_frames": semantic, "acoustic_frames": frames,
        "semantic_frame_rate": 50.0, "acoustic_frame_rate": 37.5, "cut": {"seconds": 0.4},
    }  # fmt: skip
    write_json(folder / "info.json", base | info)
    return folder
