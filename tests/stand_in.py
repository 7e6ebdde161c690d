"""Snakemake with the stand-in for conda (tests/conda/bin), each job with its own packages alone."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest
from workspace import ROOT, Workspace

BIN = ROOT / "tests" / "conda" / "bin"
LENT = sysconfig.get_path("purelib")  # what `script:` would borrow packages from


def use_stand_in(patch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    """The settings with which Snakemake finds the stand-in, and this keeps its record."""
    ours = [str(BIN), str(Path(sys.executable).parent)]
    patch.setenv("PATH", os.pathsep.join([*ours, os.environ["PATH"]]))
    patch.setenv("ETUDE_LENT", LENT)
    patch.setenv("ETUDE_ALONE", str(workspace.folder / "alone.tsv"))


def run_in_conda(workspace: Workspace, *arguments: str | Path):
    """Run snakemake with an environment for each rule."""
    prefix = ["--conda-prefix", workspace.folder / "envs"]
    return workspace.run(*arguments, "--sdm", "conda", *prefix, configs=workspace.configs)
