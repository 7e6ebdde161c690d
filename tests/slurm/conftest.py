"""A real SLURM for the tests of this folder; without one they are skipped, in CI they fail."""

from __future__ import annotations

import os

import pytest
from slurm.cluster import Cluster, NoCluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Nodes c1, c2 and g1 (a fake GPU), up and idle."""
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
    except NoCluster as reason:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"no SLURM, and CI must not go without: {reason}")
        pytest.skip(f"no SLURM here: {reason}")
    try:
        assert cluster.seconds < 15
        yield cluster
    finally:
        cluster.stop()
