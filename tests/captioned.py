"""A packed token set of two sounds that are told apart by their words, and one without a name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from etude.config.systems.musicgen import MusicGen
from etude.storage import write_csv, write_json
from etude.systems.base import Parts

SIZE, QUANTIZERS, FRAMES = 8, 2, 10
SOUNDS = {"low": 0, "high": 4}  # codes 0-3 and 4-7
NETWORK = {"dim": 32, "layers": 2, "heads": 2, "ffn": 64, "text_dim": 32, "text_layers": 1}


class Beeps:
    """A codec of which only the shape counts."""

    sample_rate, frame_rate, codebook_size, quantizers = 8000, 40.0, SIZE, QUANTIZERS

    def decode(self, codes):
        return codes.float().mean(1).repeat_interleave(200, dim=1) / SIZE


def make_captioned(folder: Path) -> Parts:
    """Codes that are those of a word; a quarter of the pieces lie in the folder `owned`."""
    datasets = pytest.importorskip("datasets")
    generator = torch.Generator().manual_seed(0)
    captions = []
    for split, count in (("train", 12), ("valid", 4), ("test", 4)):
        rows = {"segment": [], "piece": [], "acoustic": []}
        for i in range(count):
            name = list(SOUNDS)[i % 2]
            codes = torch.randint(4, (QUANTIZERS * FRAMES,), generator=generator) + SOUNDS[name]
            piece, concept = f"{split}{i}", "owned" if i % 4 == 3 else name
            captions.append({"piece": piece, "concept": concept, "caption": f"{name}, minor"})
            rows["segment"].append(f"{piece}_0")
            rows["piece"].append(piece)
            rows["acoustic"].append(codes.tolist())
        dataset = datasets.Dataset.from_dict(rows)
        dataset.save_to_disk(str(folder / "packed" / split), num_shards=1)
    write_csv(folder / "captions.csv", ["piece", "concept", "caption"], captions)
    info = {
        "data_hash": "0" * 64, "quantizers": QUANTIZERS, "codebook_size": SIZE,
        "acoustic_frames": FRAMES, "acoustic_frame_rate": 40.0,
        "splits": {s: {"items": n, "pieces": n} for s, n in (("train", 12), ("valid", 4))},
    }  # fmt: skip
    write_json(folder / "packed/info.json", info)
    return Parts(packed=folder / "packed", captions=folder / "captions.csv")


def experiment(steps: int = 60, **more) -> MusicGen:
    """One that learns in seconds; `training` goes over its training."""
    training = {"steps": steps, "batch_size": 8, "learning_rate": 5e-3, "warmup_steps": 5}
    stages = {"lm": {"network": NETWORK, "training": training | more.pop("training", {})}}
    return MusicGen(system="musicgen", corpus="c", stages=stages, **more)
