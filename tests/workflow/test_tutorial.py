"""The tutorial, typed command by command as it stands in docs/tutorial.md."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
from toys.checkout import copy_checkout
from workspace import CORES, ROOT

from etude import __version__
from etude.runs import LAST_WORDS

pytestmark = pytest.mark.workflow

PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
# A block; a block of YAML with the file that the reader is told to write it into.
BLOCK = re.compile(r"(?:^Write `([\w.]+)`:\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"(git|cd|make|\.venv/bin/\w+) ")
MINE, TRIAL = "--configfile mine.yaml", "--configfile config/presets/smoke.yaml mine.yaml"
EARNEST = f".venv/bin/snakemake --cores all {MINE}"
TRAINS = "results/state/*/history.csv"  # there as soon as a stage trains
LONGEST = 1800  # seconds that one command may take


@dataclass
class Terminal:
    """Where the commands are typed."""

    folder: Path

    def environment(self) -> dict[str, str]:
        # The scratch clone has this environment's packages; of `etude` it has its own. Nothing is
        # installed: should `make setup` find the environment wanting, it fails.
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
        return kept | {"PYTHONPATH": str(self.folder), "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}

    def start(self, command: str) -> subprocess.Popen[str]:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind nohup
        try:
            return subprocess.Popen(
                ["bash", "-c", command], cwd=self.folder, env=self.environment(), text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, before)

    def type(self, command: str) -> str:
        process = self.start(command)
        said, _ = process.communicate(timeout=LONGEST)
        assert process.returncode == 0, f"{command}\n{said[-6000:]}"
        return said

    def press_ctrl_c(self, command: str, when) -> str:
        """What a command says that is stopped as soon as something is so."""
        process = self.start(command)
        end = time.monotonic() + LONGEST
        while not when() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said, _ = process.communicate(timeout=LONGEST)
        assert process.returncode, f"not stopped: {command}\n{said[-3000:]}"
        return said


def steps() -> list[tuple[str, str]]:
    """(file, text) of what is written, ("", command) of what is typed; output is left out."""
    found = []
    for file, kind, text in BLOCK.findall(PAGE):
        if file:
            found.append((file, text))
        elif not kind:
            found += [("", line) for line in text.splitlines() if TYPED.match(line)]
    return found


def clone(terminal: Terminal) -> None:
    """The working tree, with the packages of the Python that runs the tests."""
    # `make setup` would install this version into the environment that the scratch clone shares.
    assert version("etude") == __version__, "run make setup first"
    terminal.folder = copy_checkout(terminal.folder / "etude")
    venv, lock = terminal.folder / ".venv", terminal.folder / "requirements/lock.txt"
    venv.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix) / name)
    # What requirements/install.sh leaves behind when it is done; tests/fresh runs it.
    (venv / ".home").write_text(f"{terminal.folder}\n", encoding="utf-8")
    (venv / f".stamp-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}").touch()


def stop_and_go_on(terminal: Terminal, command: str, stopped: str) -> None:
    """Ctrl-C while a stage trains, then the same command again."""
    earlier = set(terminal.folder.glob(TRAINS))
    said = terminal.press_ctrl_c(command, lambda: set(terminal.folder.glob(TRAINS)) - earlier)
    assert said.splitlines()[-1] == LAST_WORDS
    assert re.search(stopped, said), said[-3000:]
    terminal.type(command)


def play(terminal: Terminal, command: str) -> None:
    """The studio answers at the address that it prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    studio = terminal.start(command.replace(" to-go", f" to-go --port {port}"))
    try:
        assert studio.stdout is not None
        address = next(m[0] for line in studio.stdout if (m := re.search(r"http://\S+/", line)))
        assert b"<html" in answer_of(address).lower()
    finally:
        os.killpg(studio.pid, signal.SIGINT)
        studio.communicate(timeout=60)


def answer_of(address: str, longest: float = 60.0) -> bytes:
    """The page at an address that was printed just before the server listens there."""
    end = time.monotonic() + longest
    while True:
        try:
            with urllib.request.urlopen(address, timeout=longest) as answer:
                return answer.read()
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def first_hour(terminal: Terminal, typed: list[tuple[str, str]], longest: str, stopped: str) -> str:
    """Do all of it; what was printed. `longest` is stopped with Ctrl-C and typed again."""
    said = ""
    for file, text in typed:
        if file:
            (terminal.folder / file).write_text(text, encoding="utf-8")
        elif text.startswith("git clone"):
            clone(terminal)
        elif text.startswith("cd "):
            assert terminal.folder.name == text.removeprefix("cd ")
        elif text.startswith("make studio"):
            play(terminal, text)
        elif text == longest:
            stop_and_go_on(terminal, cores(text), stopped)
        else:
            said += terminal.type(cores(text))
    for name in (
        "first1.wav",
        "first1.mid",
        "first2.wav",
        "first2.mid",
        "results/report/index.html",
    ):
        assert (terminal.folder / name).is_file(), name
    for name in ("other1.wav", "more1.mid", "track1.wav", "track2.wav", "to-go/export.json"):
        assert (terminal.folder / name).is_file(), name
    return said


def cores(command: str) -> str:
    """Beside other tests a command takes its share of the cores."""
    return command.replace("--cores all", f"--cores {CORES}").replace(
        "make demo", f"make demo CORES={CORES}"
    )


@pytest.mark.proof
def test_a_short_first_hour(tmp_path):
    """As the page offers to who has little time: no demo, and the trial in place of what is long."""
    assert "Short of time? Skip this step" in PAGE
    assert "Short of time? Stay with the trial" in PAGE
    typed = [
        (file, text if file else text.replace(MINE, TRIAL))
        for file, text in steps()
        if text not in ("make demo", EARNEST)
    ]
    assert len(typed) == len(steps()) - 2
    trial = EARNEST.replace(MINE, TRIAL)
    assert ("", trial) in typed
    first_hour(Terminal(tmp_path), typed, longest=trial, stopped="")
    verdict = (tmp_path / "etude/results/fad.txt").read_text(encoding="utf-8").splitlines()[-1]
    assert re.match("gate: (undecided|n/a)", verdict)


@pytest.mark.proof
def test_the_first_hour(tmp_path):
    said = first_hour(
        Terminal(tmp_path), steps(), EARNEST, r"stopped at step \d+ of \d+; the state is saved"
    )
    assert "\ngate: holds (audiolm holds; remi_llama holds)\n" in said
