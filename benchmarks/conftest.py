"""The default configuration, run once from nothing for all that compare with it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from workspace import Workspace


@dataclass
class Demo:
    """A finished run of the default configuration, and how long it took."""

    workspace: Workspace
    seconds: float


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Demo:
    """The whole demo, never interrupted."""
    workspace = Workspace(tmp_path_factory.mktemp("demo"))
    start = time.perf_counter()
    workspace.run()
    return Demo(workspace, time.perf_counter() - start)
