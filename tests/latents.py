"""Made-up latents of pieces: bars go round a few chords, and sections come again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

SLOTS, LATENT = 3, 4
SHAPE: dict[str, Any] = {
    "slots": SLOTS, "latent": LATENT, "keys": 12, "modes": 2, "meters": 3,
    "mean": [0.5, 0.0, -1.0, 2.0], "deviation": [2.0, 1.0, 0.5, 3.0], "percentile": 3.0,
}  # fmt: skip
FORMS = ("A4A4", "A2B2A2", "A3B4A3C2", "A5")


def write_pieces(path: Path, count: int = 12, seed: int = 0) -> list[str]:
    """A file as the encoding stage writes it -> the forms of its pieces."""
    rng = np.random.default_rng(seed)
    means, lengths, repeats, modes, forms = [], [], [], [], []
    chords = np.random.default_rng(1).normal(size=(2, 4, SLOTS, LATENT))
    for number in range(count):
        form = FORMS[number % len(FORMS)]
        mode, letters, bars, repeat = number // len(FORMS) % 2, {}, [], []
        for letter, length in zip(form[::2], form[1::2], strict=True):
            for place in range(int(length)):
                key = (letter, place)
                if key not in letters:
                    letters[key] = len(bars)
                    begin = letters.get((letter, 0), len(bars))
                    noise = 0.1 * rng.normal(size=(SLOTS, LATENT))
                    bars.append(chords[mode, (begin + place) % 4] + noise)
                else:
                    bars.append(bars[letters[key]])
                repeat.append(letters[key])
        means += bars
        lengths.append(len(bars))
        repeats += repeat
        modes.append(mode)
        forms.append(form)
    mean = torch.tensor(np.array(means), dtype=torch.float32)
    mean = mean * torch.tensor(SHAPE["deviation"]) + torch.tensor(SHAPE["mean"])
    pieces = {
        "mean": mean,
        "log_variance": torch.full_like(mean, -5.0),
        "lengths": torch.tensor(lengths),
        "repeat": torch.tensor(repeats),
        "mode": torch.tensor(modes),
        "key": torch.tensor([number % 12 for number in range(count)]),
        "meter": torch.zeros(count, dtype=torch.long),
    }
    save_file(pieces, path)
    return forms
