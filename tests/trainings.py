"""An experiment of one small stage, and a request to stop it."""

from __future__ import annotations

from collections.abc import Callable

from etude.config.systems.audiolm import AudioLm


def experiment(**training) -> AudioLm:
    """A semantic stage that trains in a second; `training` goes over its settings."""
    network = {"dim": 16, "depth": 1, "heads": 2, "dropout": 0.1}
    training = {"steps": 12, "batch_size": 4, "warmup_steps": 2, "save_every": 3} | training
    stages = {"semantic": {"network": network, "training": {"validate_every": 5} | training}}
    return AudioLm(system="audiolm", corpus="c", fine_frames=5, stages=stages)


def stop_after(steps: int) -> Callable[[], bool]:
    """A `should_stop` that says so once it was asked as often."""
    calls = iter(range(10_000))
    return lambda: next(calls) + 1 >= steps
