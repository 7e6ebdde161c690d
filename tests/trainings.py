"""An experiment of one small stage, and a request to stop it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etude.config.systems.audiolm import AudioLm
from etude.storage import read_json, write_json
from etude.systems.base import Parts


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


def changed(packed: Path, **info) -> Parts:
    """Parts of which only info.json is there, with some of its keys changed."""
    found = read_json(packed / "info.json") | info
    folder = packed.parent / f"{packed.name}-{'-'.join(info)}"
    write_json(folder / "info.json", {k: v for k, v in found.items() if v is not None})
    return Parts(packed=folder)
