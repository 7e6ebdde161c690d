"""Runs that several tests look at."""

from __future__ import annotations

import shutil

import music
import pytest
from workspace import SMOKE, Workspace, own_folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workspace:
    """A small corpus of four-part pieces, taken through everything with few steps."""
    workspace = Workspace(tmp_path_factory.mktemp("finished"))
    music.make_chorales(workspace.folder / "music", 12, seed=1)
    mine = workspace.config("mine", own_folder(workspace.folder / "music"))
    workspace.run(configs=[SMOKE, mine])
    return workspace


@pytest.fixture
def copied(finished, workspace) -> Workspace:
    """A copy of that run, with Snakemake's records of it, to change what others look at."""
    shutil.copytree(finished.folder, workspace.folder, symlinks=True, dirs_exist_ok=True)
    return workspace
