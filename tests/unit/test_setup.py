"""What Étude needs besides packages is checked, installed where allowed, named where not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etude import setup
from etude.errors import UserError

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
    with pytest.raises(UserError, match=setup.SOUNDFONT_SHA256):
        setup.check_soundfont()


def test_no_pretty_midi_says_make_setup(monkeypatch):
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="make setup"):
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
