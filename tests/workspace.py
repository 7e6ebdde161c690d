"""Snakemake, run for real on small corpora that the tests make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ROOT / "config" / "presets" / "smoke.yaml"
# Beside another tester (pytest-xdist) one core each, as everything that is compared by bytes.
CORES = "1" if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1 else "2"


@dataclass
class Workspace:
    """A folder in which the workflow runs, of this checkout or of another."""

    folder: Path
    checkout: Path = ROOT
    aside: tuple[Path, ...] = ()  # folders with further packages, as `install_aside` fills them

    def config(self, name: str, content: dict) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    def run(self, *arguments: str | Path, configs: list[Path] | None = None, check: bool = True):
        """Run snakemake here; with `check`, a failure shows what it said."""
        command = [
            sys.executable, "-m", "snakemake", "-s", str(self.checkout / "Snakefile"),
            "--directory", str(self.folder), "--cores", CORES, *map(str, arguments),
        ]  # fmt: skip
        if configs:
            command += ["--configfile", *map(str, configs)]
        return self._call(command, check)

    def by_hand(self, *arguments: str | Path, configs: list[Path], check: bool = True):
        """Run the scripts of some outputs in one process, without the workflow."""
        script = [
            sys.executable,
            str(self.checkout / "scripts" / "by_hand.py"),
            *map(str, arguments),
        ]
        command = [*script, "--cores", CORES, "--configfile", *map(str, configs)]
        return self._call(command, check)

    def etude(self, *arguments: str | Path, check: bool = True):
        """Run `python -m etude` here."""
        return self.python("-m", "etude", *arguments, check=check)

    def python(self, *arguments: str | Path, check: bool = True):
        """Run Python here, with the checkout's package."""
        return self._call([sys.executable, *map(str, arguments)], check)

    def _call(self, command: list[str], check: bool):
        path = os.pathsep.join(map(str, (self.checkout, *self.aside)))
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": CORES}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if check:
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done

    def text(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    def results(self) -> dict[str, bytes]:
        """The bytes of all outputs that must be the same in every run of the same thing."""
        kinds = {".wav", ".csv", ".jsonl", ".safetensors", ".txt", ".json", ".svg", ".md"}
        left_out = ("logs", "benchmarks", "tensorboard", "state", "packed", "report")
        files = (p for p in sorted((self.folder / "results").rglob("*")) if p.is_file())
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in files
            if path.suffix in kinds
            and not path.name.startswith(".")  # a temporary file that a killed job has left
            and path.name != "timings.csv"
            and path.relative_to(self.folder).parts[1] not in left_out
        }


def install_aside(folder: Path, *what: str | Path) -> Path:
    """Packages without what they declare, in a folder of their own: for PYTHONPATH.

    Args:
        what: as uv pip install takes them.
    """
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    finds = os.environ.get("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))
    environment = os.environ | {"UV_FIND_LINKS": finds}
    subprocess.run([*command, *map(str, what)], check=True, env=environment)
    return folder


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own at a folder; skips where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        # Lazily: a traceback may hold a file open.
        subprocess.run(["umount", "-l", str(folder)], check=True)


def own_folder(path: Path, name: str = "mine") -> dict:
    """The three lines of config for a folder of one's own."""
    return {
        "corpora": {name: {"source": "folder", "path": str(path)}},
        "experiments": {name: {"system": "audiolm", "corpus": name}},
        "run": [name],
    }


def jobs(done) -> set[str]:
    """Names of the rules that a dry run would run."""
    lines = (done.stdout + done.stderr).splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("Job stats")), len(lines))
    table = [line.split() for line in lines[start + 3 :]]
    names = set()
    for cells in table:
        if len(cells) != 2 or not cells[1].isdigit():
            break
        names.add(cells[0])
    return names - {"all", "total"}
