"""What holds for every test: few threads, a cache of its own, and who runs beside whom."""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="etude-test-cache-")

import pytest
from workspace import Workspace

import etude  # noqa: F401  sets what torch's libraries read when they load

# Runs of the workflow that several tests look at: each is made once, so its tests stay together.
SHARED = {"finished": "finished", "opened": "finished", "exported": "finished", "local": "slurm"}


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """A folder in which the workflow runs."""
    return Workspace(tmp_path)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: tests that share a fixture go to one worker, the longest first.

    Tests of the workflow take minutes and stand alone, unless they share a run; unit tests go
    by file, since their fixtures do.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=rank)


def group_of(item: pytest.Item) -> str:
    """The name of the group that a test runs in."""
    shared = {SHARED[name] for name in item.fixturenames if name in SHARED}
    if shared:
        return shared.pop()
    alone = item.get_closest_marker("workflow") and "outside" not in item.fixturenames
    return item.nodeid if alone else str(item.path)


def rank(item: pytest.Item) -> int:
    """Shared runs first, then other runs of the workflow, then unit tests (a stable order)."""
    if not item.get_closest_marker("workflow"):
        return 3
    if "/" not in (group := group_of(item)):
        return 0
    return 1 if group == str(item.path) else 2
