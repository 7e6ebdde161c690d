"""What holds for every test: few threads, a cache of its own, and who runs beside whom."""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="etude-test-cache-")

import hypothesis
import pytest
from workspace import Workspace

import etude  # noqa: F401  sets what torch's libraries read when they load

# How long an example takes is another question, and another machine's.
hypothesis.settings.register_profile("etude", deadline=None)
hypothesis.settings.load_profile("etude")

WORKFLOW = "tests/workflow/"
# Files whose tests look at one run (the fixture `finished`): they stay on one tester.
FINISHED = (
    *("test_around.py", "test_by_hand.py", "test_main_job.py", "test_reruns.py"),
    "test_weights.py",
)
# Tests of these names make a run of their own, of a minute: each may go anywhere.
ALONE = (
    "test_folders_unlike",
    "test_a_corpus_too_small",
    "test_the_simplest",
    "test_tokenizers_of",
)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """A folder in which the workflow runs."""
    return Workspace(tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that testers end together: SLURM, shared runs, own runs, the rest."""
    items.sort(key=lambda item: rank(group_of(item.nodeid)))


def group_of(nodeid: str) -> str:
    """What a test stays together with: its shared run, or its file, or nothing."""
    file, _, name = nodeid.partition("::")
    if file.startswith(WORKFLOW) and name.startswith(ALONE):
        return nodeid
    return "finished" if file.removeprefix(WORKFLOW) in FINISHED else file


def rank(group: str) -> int:
    """The place of a group in the order; the order within a rank is pytest's."""
    starts = ("tests/slurm/", "finished", WORKFLOW, "tests/conda/")
    return next((i for i, start in enumerate(starts) if group.startswith(start)), len(starts))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Testers get whole groups. (`--dist loadgroup` of pytest-xdist 3.8 does nothing in pytest 9.2:
    it writes the group into a field that pytest has renamed.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Together(config, log)
