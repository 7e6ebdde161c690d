"""The examples in docstrings of the library are what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "etude").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
# Rooms of pure functions, that teach by example: each has several modules with some.
TAUGHT = ("metrics", "metrics.notes", "metrics.memorisation", "tokenizers", "diffusion", "clips")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


def test_rooms_that_teach_have_examples():
    rooms = [name.removeprefix("etude.").rpartition(".")[0] for name in MODULES]
    for room in TAUGHT:
        assert rooms.count(room) >= 2, room
