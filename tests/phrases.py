"""Pieces of made-up phrases, packed, and experiments small enough for unit tests."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from etude.config import CorpusBase, RemiZ
from etude.config.systems.phrase_ldm import PhraseLdm
from etude.storage import hash_folder, write_json
from etude.systems.base import Parts
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.remi_z_vocabulary import Bar

SLOTS = 2
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)
TINY = {"kind": "rotary", "dim": 32, "layers": 1, "heads": 2, "latent": 8, "bar_layers": 0}
TINY_DIT = {"dim": 32, "layers": 1, "heads": 2, "longest": 16}
FEW = {"steps": 6, "batch_size": 4, "warmup_steps": 2, "validate_every": 3, "save_every": 3}


def tokenizer_of(**settings) -> RemiZTokenizer:
    return RemiZTokenizer(RemiZ(kind="remi_z", slots=SLOTS, normalise_key=True, **settings))


def phrase(tokenizer: RemiZTokenizer, random: Random, slot: int) -> list[int]:
    """One to four notes of a scale; a phrase in ten is empty."""
    number = tokenizer.numbers().index
    ids = []
    if random.random() < 0.1:
        return ids
    for beat in sorted(random.sample(range(4), random.randrange(1, 5))):
        pitch = random.choice(SCALE) - 12 * slot
        ids += [number(("o", 12 * beat)), number(("p", pitch)), number(("d", 12))]
    return ids


def song(
    tokenizer: RemiZTokenizer, random: Random, bars: int = 6, signature: tuple[int, int] = (4, 4)
) -> list[Bar]:
    """Bars of which some come again."""
    found: list[Bar] = []
    positions = tokenizer.words.positions(signature)
    for number in range(bars):
        again = number >= bars // 2 and random.random() < 0.8
        new = [phrase(tokenizer, random, slot) for slot in range(SLOTS)]
        phrases = found[number - bars // 2].phrases if again else new
        found.append(Bar(signature, positions, phrases, [0, 40]))
    return found


def songs(count: int = 8, seed: int = 0, **options) -> list[list[Bar]]:
    tokenizer, random = tokenizer_of(), Random(seed)
    return [song(tokenizer, random, bars=random.randrange(4, 9), **options) for _ in range(count)]


def pack(folder: Path, pieces: dict[str, list[list[Bar]]], **settings) -> Parts:
    """Pieces by split as the packed token set, with a tokenizer beside it."""
    datasets = pytest.importorskip("datasets")
    tokenizer = tokenizer_of(**settings)
    fitted = folder / "tokenizer"
    fitted.mkdir(parents=True)
    tokenizer.save(fitted)
    for split in ("train", "valid", "test"):
        rows = pieces.get(split, [])
        ids = [[tokenizer.bos, *tokenizer.join(bars), tokenizer.eos] for bars in rows]
        content = {
            "piece": [f"{split}_{i}" for i in range(len(rows))],
            "window": [0] * len(rows),
            "transpose": [0] * len(rows),
            "input_ids": ids,
        }
        packed = folder / "packed" / split
        datasets.Dataset.from_dict(content).save_to_disk(str(packed), num_shards=1)
    info = {
        "kind": "symbolic", "data_hash": "0" * 64, "vocabulary": tokenizer.vocabulary,
        "pad": 0, "bos": 1, "eos": 2, "window": 65536,
        "tokenizers": {"symbolic": hash_folder(fitted)},
        "splits": {s: {"items": len(rows), "pieces": len(rows)} for s, rows in pieces.items()},
    }  # fmt: skip
    write_json(folder / "packed" / "info.json", info)
    return Parts(folder / "packed", {"tokenizer": fitted}, corpus=CorpusBase())


def parts_of(folder: Path, train: int = 8, valid: int = 3) -> Parts:
    """A few pieces."""
    every = songs(train + valid)
    return pack(folder, {"train": every[:train], "valid": every[train:]})


def experiment(stages=None, generate=None, **training) -> PhraseLdm:
    """All of it, trained in a second; `training` goes over the settings of all stages."""
    few = FEW | training
    base = {
        "vae": {"network": TINY, "training": few, "least_f1": 0},
        "ldm": {"network": TINY_DIT, "training": few},
    }
    for name, values in (stages or {}).items():
        base[name] = base.get(name, {}) | values
    made = {"clips": 2, "bars": 4, "seconds": 1.0} | (generate or {})
    return PhraseLdm(system="phrase_ldm", corpus="c", tokens="t", stages=base, generate=made)
