"""The default configuration, run once from nothing for all that compare with it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from workspace import Workspace


@dataclass
class Demo:
    """A finished run of the default configuration, how long it took, and when it could be heard."""

    workspace: Workspace
    seconds: float
    first_sound: float  # seconds from the start to the generated clips


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Demo:
    """The whole demo, never interrupted."""
    workspace = Workspace(tmp_path_factory.mktemp("demo"))
    start, began = time.perf_counter(), time.time()
    workspace.run()
    seconds = time.perf_counter() - start
    clips = workspace.folder / "results/clips/audiolm/seed-0/draw-0"
    heard = max(path.stat().st_mtime for path in clips.glob("*.wav"))
    return Demo(workspace, seconds, heard - began)
