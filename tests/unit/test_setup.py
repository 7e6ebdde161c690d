"""What Étude needs besides packages is checked, installed where allowed, named where not."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from refused import refused

from etude import setup

ROOT = Path(__file__).resolve().parents[2]


def test_a_space_in_the_path_is_refused_at_once(tmp_path):
    clone = tmp_path / "my clone"
    shutil.copytree(ROOT / "requirements", clone / "requirements")
    command = [clone / "requirements/install.sh", sys.executable, ".venv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a space in its path" in done.stderr
    assert not (clone / ".venv").exists()


def test_soundfont_is_found_without_importing_pretty_midi():
    code = (
        "import sys, etude.setup; path = etude.setup.check_soundfont(); "
        "print(path.name, 'pretty_midi' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["TimGM6mb.sf2", "False"]


def test_other_soundfont_bytes_are_an_error(tmp_path, monkeypatch):
    (tmp_path / "TimGM6mb.sf2").write_bytes(b"RIFF")
    monkeypatch.setattr(setup, "default_soundfont", lambda: tmp_path / "TimGM6mb.sf2")
    with refused("soundfont-hash-differs", setup.SOUNDFONT_SHA256):
        setup.check_soundfont()


def test_no_pretty_midi_says_make_setup(monkeypatch):
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None)
    with refused("soundfont-missing", "`make setup`"):
        setup.default_soundfont()


@pytest.mark.parametrize(
    ("codes", "expected"), [([0], ["install"]), ([100, 0, 0], ["install", "update", "install"])]
)
def test_library_is_installed_where_allowed(monkeypatch, codes, expected):
    """The lists of packages are fetched only where installing fails without."""
    calls = []

    def apt(command):
        calls.append(command[2])
        return codes[len(calls) - 1]

    def find():
        return "libfluidsynth.so.3" if len(calls) == len(codes) else None

    monkeypatch.setattr(setup, "find_libfluidsynth", find)
    monkeypatch.setattr(setup, "_may_install", lambda: ["env", "apt-get"])
    monkeypatch.setattr(setup, "_run", apt)
    assert setup.ensure_libfluidsynth() == "libfluidsynth.so.3"
    assert calls == expected


def test_library_missing_names_the_command(monkeypatch, capsys):
    monkeypatch.setattr(setup, "find_libfluidsynth", lambda: None)
    monkeypatch.setattr(setup, "_may_install", lambda: None)
    assert setup.main(["--library"]) == 1
    error = capsys.readouterr().err
    assert "apt-get install libfluidsynth3" in error
    assert "brew install fluid-synth" in error


@pytest.mark.slow
def test_the_command_works_from_any_folder_and_needs_no_git(tmp_path):
    """As `make setup` installs it, from a copy that is no clone, into an environment of its own."""
    copy, elsewhere = tmp_path / "etude-1", tmp_path / "elsewhere"
    copy.mkdir()
    elsewhere.mkdir()
    for name in ("etude", "config", "requirements"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    words = re.search(r"-m (pip install .*--editable) \.", makefile)[1].split()
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PIP_NO_INDEX": "1"}
    command = [python, "-m", *words, copy, "--ignore-installed"]
    done = subprocess.run(
        command, cwd=elsewhere, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for start in ([tmp_path / "venv/bin/etude"], [python, "-m", "etude"]):
        said = subprocess.run(
            [*start, "config"], cwd=elsewhere, env=env, capture_output=True, text=True, check=False
        )
        assert said.stdout == "the configuration is valid\n", said.stderr
    where = [python, "-c", "import etude; print(etude.__file__)"]
    found = subprocess.run(
        where, cwd=elsewhere, env=env, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).parent == copy / "etude"
