"""The README's two commands on a machine that has only what the README says must be there."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from fresh.debian import ROOT, USER, Debian, NoDebian

pytestmark = [pytest.mark.workflow, pytest.mark.proof]
# What the README tells people to install, and nothing else.
NEEDED = re.search(r"`sudo apt-get install (.+)`", (ROOT / "README.md").read_text())[1].split()
WITHOUT = "apt-get -q -y autoremove --purge libfluidsynth3"
SMOKE = 'make demo ARGS="--configfile config/presets/smoke.yaml"'


@pytest.fixture
def debian(tmp_path):
    """An empty Debian with what the README names; without one a skip, in CI a failure.

    ETUDE_DEBIAN names a folder for one that is kept and used again.
    """
    kept = os.environ.get("ETUDE_DEBIAN", "")
    debian = Debian(Path(kept or tmp_path / "debian"))
    try:
        debian.make(NEEDED)
    except NoDebian as reason:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"no empty Debian, and CI must not go without: {reason}")
        pytest.skip(f"no empty Debian here: {reason}")
    yield debian
    if not kept:
        shutil.rmtree(debian.folder, ignore_errors=True)


def timed(debian: Debian, user: str, command: str, home: str = "") -> tuple[str, float]:
    """What a command that must succeed says, and its seconds."""
    began = time.monotonic()
    done = debian.run(user, command, home)
    assert done.status == 0, done.said[-6000:]
    return done.said, time.monotonic() - began


def file(debian: Debian, path: str) -> Path:
    return debian.folder / "home" / USER / "etude" / path


def test_a_user_without_sudo_and_root(debian):
    """The user is told the one command; somebody types it; then all goes. For root nobody types."""
    from record import record, table

    timed(debian, "root", WITHOUT, "/")
    debian.clone(USER)
    told = debian.run(USER, SMOKE)
    assert told.status
    assert "libfluidsynth is missing" in told.said
    assert not file(debian, ".venv").exists(), "it is asked before the long download"
    command = re.search(r"Debian, Ubuntu: +sudo (.+)", told.said)[1]
    timed(debian, "root", f"{command} -y", "/")
    rows = [["`make setup`, as a user", f"{timed(debian, USER, 'make setup')[1]:.0f}"]]
    said, seconds = timed(debian, USER, SMOKE)
    rows.append(["`make demo` with the preset smoke", f"{seconds:.0f}"])
    assert "generated" in said
    assert file(debian, "results/report/index.html").is_file()
    said, seconds = timed(debian, USER, "make quick")
    rows.append(["`make quick`", f"{seconds:.0f}"])
    assert re.search(r"\d+ passed", said)
    assert " failed" not in said
    doctor = timed(debian, USER, ".venv/bin/python -m etude doctor")[0]
    assert "This run can work here" in doctor

    timed(debian, "root", WITHOUT, "/")
    debian.clone("root")
    said, seconds = timed(debian, "root", "make setup")
    assert "libfluidsynth is missing; installing it" in said
    rows.append(["`make setup`, as root, the library included", f"{seconds:.0f}"])
    said, seconds = timed(debian, "root", "make setup")
    assert not said
    assert seconds < 5
    lines = [
        (
            "An empty Debian by debootstrap with "
            + ", ".join(NEEDED)
            + " and nothing else; a clone; a user without sudo, then root."
        ),
        "",
        *table(["", "seconds"], rows),
    ]
    record("A fresh machine", "pytest tests/fresh -m proof", lines)
