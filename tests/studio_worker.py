"""The studio's worker with a toy in place of a model: it plays a tone, and misbehaves when asked.

The seed says what it does: HANGS, DIES, FAILS or SLOW; any other makes a tone of its own.
"""

import os
import sys
import time

import numpy as np

from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress
from etude.errors import UserError
from etude.midi.writing import plain_table
from etude.studio import worker

HANGS, DIES, FAILS, SLOW, BROKEN = 1001, 2001, 3001, 4001, 5001
RATE = 8000


class Toy:
    rate = RATE

    def prepare(self, settings, conditions):
        return conditions

    def clips(self, settings, seed, draw, conditions, progress, should_stop):
        if draw == HANGS:
            time.sleep(3600)
        if draw == DIES:
            os._exit(9)
        if draw == FAILS:
            raise UserError("this cannot be made", code="a-test", why="it is a test")
        if draw == BROKEN:
            raise RuntimeError("/secret/place: a fault of ours")
        steps = 60 if draw == SLOW else 5
        for step in range(steps):
            progress(GenerationProgress("toy", 100 * step / steps, 0.0, 1.0))
            time.sleep(0.05 if draw == SLOW else 0.002)
        seconds = conditions.seconds or 1.0
        wave = np.sin(np.arange(round(seconds * RATE)) * (0.1 + draw % 97 / 500)).astype(np.float32)
        onset = np.arange(4) * 240
        yield Clip(
            wave / 2,
            {"prime_seconds": "0.500"},
            plain_table(onset, onset * 0 + 240, 60 + draw % 12 + onset // 240),
        )


if __name__ == "__main__":
    worker.Worker.player = lambda self, instrument: Toy()
    sys.exit(worker.main())
