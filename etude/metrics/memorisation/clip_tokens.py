"""Semantic tokens of clips, for the search on tokens."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from etude.audio.files import AudioError
from etude.metrics.clip_sets import clip_sets, hear
from etude.storage import atomic, read_csv
from etude.tokenizers.registry import load_tokenizer

VERSION = 2  # raised when the lines change

SETS = ("generated", "real", "copies")


def tokenize_clips(clips: Path, semantic: Path, output: Path) -> None:
    """Write a line {"clips", "clip", "semantic"} per clip; a clip that cannot be read has none."""
    tokenizer = load_tokenizer(semantic)
    with atomic(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        for key, folder in clip_sets(clips).items():
            for row in read_csv(folder / "clips.csv") if key in SETS else ():
                try:
                    wave = hear(folder, row, tokenizer.sample_rate)
                except AudioError:
                    continue
                ids = []
                if tokenizer.frames(len(wave)) > 0:
                    ids = tokenizer.encode(torch.from_numpy(wave)[None])[0].tolist()
                line = {"clips": key, "clip": row["clip"], "semantic": ids}
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
