"""The examples in docstrings of the library are what they say."""

import ast
import doctest
import importlib
import re
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
# Arguments that an example can have: numbers, arrays, notes; no files, networks or settings.
PLAIN = re.compile(
    r"(Array|Index|Ids|Integers|Wave|NoteTable|Tensor|ClipBeats|NDArray\[.*\]|np\.ndarray|int|float|str|bool"
    r"|Sequence\[(str|int|float|Array)\]|list\[(str|int)\])( \| None)?"
)
FILES = {"path"}
NEEDS_A_PACKAGE = {"open_loader"}  # fadtk


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


def test_rooms_that_teach_have_examples():
    rooms = [name.removeprefix("etude.").rpartition(".")[0] for name in MODULES]
    for room in TAUGHT:
        assert rooms.count(room) >= 2, room


def plain(function):
    """Whether a function is public and has arguments that an example can write down."""
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return (
        not function.name.startswith("_")
        and bool(arguments)
        and not FILES & {a.arg for a in arguments}
        and all(a.annotation and PLAIN.fullmatch(ast.unparse(a.annotation)) for a in arguments)
    )


@pytest.mark.parametrize("room", ["metrics", "tokenizers", "diffusion", "clips"])
def test_every_public_function_of_plain_arguments_has_an_example(room):
    seen, without = 0, set()
    for path in sorted((ROOT / "etude" / room).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and plain(node):
                seen += 1
                if ">>> " not in (ast.get_docstring(node) or ""):
                    without.add(node.name)
    assert seen
    assert without <= NEEDS_A_PACKAGE
