"""docs/from-the-originals.md: each of the 122 promises has a proof that exists."""

from __future__ import annotations

import argparse
import ast
import functools
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from etude.__main__ import _parser
from etude.arguments import spelled
from etude.config import FolderCorpus
from etude.corpus.ingest import read_rows
from etude.corpus.metadata import Metadata

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/from-the-originals.md"
PROMISES = 122
# All that may be left out, and no more.
LEFT_OUT = (
    "arXiv scraper",
    "boxsdk",
    "gdown",
    "public Gradio tunnel",
    "vqvae, pianotree and s2s configs",
    "FAD's fixed bands",
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
COMMAND = re.compile(r"`etude ([^`]*)`")


def lines():
    """(number, there, here, proof) of every line of the page's tables."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if re.match(r"\| \d", line):
            number, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            yield int(number), *cells


@functools.cache
def collected(file):
    """The tests that pytest would collect from a file."""
    path = ROOT / file
    if not path.is_file() or not path.name.startswith("test_"):
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def wrong_with(proof):
    """What is wrong with a proof; empty where nothing is."""
    named = TEST.findall(proof)
    for file, test in named:
        if test not in collected(file):
            return f"there is no test {file}::{test}"
    if proof.startswith("left out: "):
        reason = proof.removeprefix("left out: ")
        return "" if reason in LEFT_OUT else f"this may not be left out: {reason}"
    if proof.startswith("needs weights") and not proof.startswith("needs weights; look-alike: `"):
        return "it names no test with a look-alike"
    return "" if named else "no test, no look-alike and no reason"


def test_there_are_as_many_promises_as_were_counted():
    assert [number for number, *_ in lines()] == list(range(1, PROMISES + 1))


def test_every_promise_has_a_proof():
    wrong = {number: wrong_with(proof) for number, _, _, proof in lines()}
    assert {number: why for number, why in wrong.items() if why} == {}


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        ("", "no test"),
        ("it works", "no test"),
        ("`tests/unit/test_originals.py::test_that_is_not_there`", "there is no test"),
        ("`tests/unit/conftest.py::test_every_promise_has_a_proof`", "there is no test"),
        ("needs weights", "names no test"),
        ("left out: nobody asked", "may not be left out"),
        ("not yet: later", "no test"),
    ],
)
def test_a_line_without_a_proof_is_found(proof, why):
    assert why in wrong_with(proof)


def test_every_command_and_option_of_the_page_is_there():
    action = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    shown = []
    done = [here for _, _, here, _ in lines()]
    for command in COMMAND.findall(" ".join(done)):
        name, *words = spelled(command.split())
        assert name in action.choices, command
        options = action.choices[name]._option_string_actions
        wrong = [word for word in words if word.startswith("-") and word not in options]
        assert not wrong, f"etude {command}: {wrong}"
        shown.append(name)
    assert len(set(shown)) > 5


def test_every_preset_that_the_page_names_is_there():
    named = set(re.findall(r"config/presets/\w+\.yaml", PAGE.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_make_lists_what_it_can_do():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE))
    assert {"setup", "demo", "studio", "resume", "test", "lint"} <= listed


def test_the_ready_wavs_pass_the_expos_filter(tmp_path):
    """we-sharp's rules are about MIDI; what was rendered by them is music already."""
    soundfile.write(tmp_path / "song.wav", np.sin(np.arange(24000) / 20) / 2, 24000)
    corpus = FolderCorpus(source="folder", path=tmp_path, filter="we_sharp")
    (row,) = read_rows(corpus.rules, tmp_path, ["song.wav"], Metadata(), 1)
    assert (row["status"], row["kind"]) == ("kept", "audio")
