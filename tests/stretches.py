"""Folders of tones, for comparing folders of audio; seeded."""

from __future__ import annotations

import numpy as np
import soundfile

RATE = 24000


def music(seconds, seed, rate=RATE):
    """Tones that change twice a second."""
    generator = np.random.default_rng(seed)
    hertz = np.repeat(generator.choice([220, 262, 330, 392, 440, 523], int(2 * seconds)), rate // 2)
    noise = 0.01 * generator.standard_normal(len(hertz))
    return (0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / rate) + noise).astype(np.float32)


def fill(folder, count, seconds, first=0):
    folder.mkdir()
    for seed in range(first, first + count):
        soundfile.write(folder / f"{seed:03d}.wav", music(seconds, seed), RATE)
    return folder
