"""What makes finished results anew: what they depend on, and nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from workspace import ROOT, SMOKE, Workspace, jobs

from etude.workflow.versions import modules

pytestmark = pytest.mark.workflow

PARTS = (
    "Snakefile",
    "config",
    "docs",
    "envs",
    "etude",
    "profiles",
    "requirements",
    "rules",
    "scripts",
)
TABLE = {"score_fad", "write_fad", "build_report"}


@pytest.fixture
def clone(tmp_path) -> Path:
    """A fresh clone: every file is new."""
    folder = tmp_path / "etude"
    folder.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        path.touch()
    return folder


def planned(finished: Workspace, clone: Path) -> set[str]:
    """The rules that a clone would run over finished results."""
    configs = [SMOKE, finished.folder / "mine.yaml"]
    return jobs(finished.run("-n", "-s", clone / "Snakefile", configs=configs))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def raise_version(clone: Path, label: str) -> None:
    path = clone / "etude" / f"{modules()[label]}.py"
    number = re.search(r"^VERSION = (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    change(path, number[0], f"VERSION = {int(number[1]) + 1}")


def test_a_fresh_clone_has_nothing_to_do(finished, clone):
    assert planned(finished, clone) == set()


def test_words_in_a_script_rerun_nothing(finished, clone):
    for name in ("measure_clips", "train_stage"):
        script = clone / "scripts" / f"{name}.py"
        change(script, '"""', '"""Said otherwise. ')
        change(script, "\nwith job", "\n# why\nwith job")
    change(clone / "scripts" / "adapter.py", "log.error", "log.critical")
    assert planned(finished, clone) == set()


def test_code_in_a_script_reruns_its_rule_and_what_follows(finished, clone):
    with (clone / "scripts" / "measure_clips.py").open("a", encoding="utf-8") as file:
        file.write("print()\n")
    assert planned(finished, clone) == {"measure_clips", *TABLE}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("signals", {"measure_clips", *TABLE}),
        ("page", {"write_fad", "build_report"}),  # results name the hash of all VERSIONs
        (
            "sampling",
            {
                *("generate_clips", "make_baselines", "embed_clips", "measure_clips"),
                *("tokenize_clips", "find_memorisation", *TABLE),
            },
        ),
        (
            "audiolm.transformer",
            {
                *("train_stage", "generate_clips", "make_baselines", "embed_clips"),
                *("measure_clips", "tokenize_clips", "extract_prefixes", "find_memorisation"),
                *TABLE,
            },
        ),
    ],
)
def test_a_raised_version_reruns_what_depends_on_it(label, expected, finished, clone):
    raise_version(clone, label)
    assert planned(finished, clone) == expected
