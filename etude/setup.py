"""What Étude needs besides Python packages: libfluidsynth and a SoundFont.

`python -m etude.setup` checks both and, where it may, installs the library; with `--library` it
checks the library alone, which needs no package at all. Standard library only, so that any
Python can ask before anything is installed.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from etude.errors import UserError

# TimGM6mb.sf2 as the wheel of pretty_midi 0.2.11.post0 has it (Debian's has other bytes).
SOUNDFONT_SHA256 = "82475b91a76de15cb28a104707d3247ba932e228bada3f47bba63c6b31aaf7a1"
SOUNDFONT_NAME = "TimGM6mb.sf2"

# The names that pyfluidsynth tries, in its order: what we find is what it will load.
LIBRARY_NAMES = (
    "fluidsynth",
    "fluidsynth-3",
    "libfluidsynth",
    "libfluidsynth-3",
    "libfluidsynth-2",
    "libfluidsynth-1",
)
APT_PACKAGE = "libfluidsynth3"
BY_HAND = """one of these, then make again
           Debian, Ubuntu:  sudo apt-get install libfluidsynth3
           Fedora:          sudo dnf install fluidsynth-libs
           macOS:           brew install fluid-synth
           conda:           conda install -c conda-forge fluidsynth"""


# ----------------------------------------------------------------------------- the SoundFont


def default_soundfont() -> Path:
    """Where the default SoundFont lies: in the package of pretty_midi, which is not imported.

    Raises:
        UserError: pretty_midi is not installed, or its SoundFont is missing.
    """
    spec = importlib.util.find_spec("pretty_midi")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder and (folder / SOUNDFONT_NAME).is_file():
        return folder / SOUNDFONT_NAME
    raise UserError(
        "the default SoundFont is missing",
        code="soundfont-missing",
        where=str(folder / SOUNDFONT_NAME) if folder else f"Python at {sys.executable}",
        why="it is not in the package of pretty_midi"
        if folder
        else "it comes with the package pretty_midi, which is not installed here",
        do="run `make setup`, or name a SoundFont of your own in the corpus's `soundfont`",
    )


def check_soundfont() -> Path:
    """The default SoundFont, known to be the one that all published numbers were made with.

    Raises:
        UserError: it is missing, or its bytes are others.
    """
    path = default_soundfont()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SOUNDFONT_SHA256:
        raise UserError(
            "the default SoundFont is not the one that Étude was tested with",
            code="soundfont-hash-differs",
            where=str(path),
            why=f"its sha256 is {found}, expected {SOUNDFONT_SHA256}",
            do="delete the folder .venv and run `make setup`; to use another one on purpose, "
            "name it in the corpus's `soundfont`",
        )
    return path


# ---------------------------------------------------------------------------- libfluidsynth


def find_libfluidsynth() -> str | None:
    """The library as pyfluidsynth finds and loads it; None where it would fail."""
    found = [name for name in map(ctypes.util.find_library, LIBRARY_NAMES) if name]
    if prefix := os.environ.get("HOMEBREW_PREFIX"):
        found.append(str(Path(prefix) / "lib" / "libfluidsynth.dylib"))
    for name in found[:1]:  # pyfluidsynth loads the first that it finds, or gives up
        try:
            ctypes.CDLL(name)
        except OSError:
            return None
        return name
    return None


def ensure_libfluidsynth() -> str:
    """The library, installed by apt-get where that needs nobody's password.

    Raises:
        UserError: it is missing and could not be installed; the message has the command to type.
    """
    if found := find_libfluidsynth():
        return found
    why = "MIDI is rendered by it, and the packages of Python do not bring it"
    if prefix := _may_install():
        command = [*prefix, "install", "-y", "--no-install-recommends", APT_PACKAGE]
        print("libfluidsynth is missing; installing it:", " ".join(command), flush=True)
        if _run(command):  # the lists of packages are missing or old
            _run([*prefix, "update"])
            _run(command)
            why += "; apt-get could not install it, its message stands above"
        if found := find_libfluidsynth():
            return found
    raise UserError(
        "libfluidsynth is missing",
        code="libfluidsynth-missing",
        where="this system",
        why=why,
        do=BY_HAND,
    )


def _may_install() -> list[str] | None:
    """How to call apt-get without a password, or None."""
    if not shutil.which("apt-get"):
        return None
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if os.geteuid() == 0:
        return apt
    sudo = ["sudo", "-n", *apt]
    return sudo if shutil.which("sudo") and _run([*sudo, "--version"], quiet=True) == 0 else None


def _run(command: Sequence[str], quiet: bool = False) -> int:
    out = subprocess.DEVNULL if quiet else None
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
    ).returncode


def main(arguments: Sequence[str]) -> int:
    """Check, install what may be installed; 1 with a message where something is missing."""
    try:
        ensure_libfluidsynth()
        if "--library" not in arguments:
            check_soundfont()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
