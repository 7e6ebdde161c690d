"""The machine: Python, packages, devices, the library and the SoundFont, commands.

Standard library only, also where nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from etude import setup
from etude.doctor.findings import Finding
from etude.errors import UserError
from etude.workflow.audiolm_release import INSTALL, RELEASE, check_installed

ROOT = Path(__file__).resolve().parents[2]
OLDEST = (3, 11)
SHOWN = 6  # names of packages in a line

# What is used where it is there: the command, what for, how to get it.
COMMANDS = {
    "conda": (
        "an environment per rule (--sdm conda)",
        "install Miniforge: https://conda-forge.org",
    ),
    "sbatch": ("SLURM (--profile profiles/slurm)", "run on the login node of a cluster"),
    "nvidia-smi": ("NVIDIA GPUs", "nothing, where there is no such GPU; else install its driver"),
}


def examine_python() -> Finding:
    """Whether this Python is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        do = "install a newer one, then: make setup PYTHON=python3.12"
        return Finding("Python", "broken", f"{version}, needed is {wanted} or newer", do)
    return Finding("Python", "ok", f"{version} ({sys.executable})")


# -------------------------------------------------------------------------------- packages


def examine_packages(root: Path = ROOT) -> Finding:
    """The installed versions beside requirements/lock.txt."""
    pins = dict(_pins(root / "requirements" / "lock.txt"))
    found = {name: installed(name) for name in pins}
    missing = sorted(name for name, version in found.items() if version is None)
    others = sorted(n for n, v in found.items() if v and v.split("+")[0] != pins[n])
    asked = set(_names(root / "requirements" / "main.in"))
    parts = [f"{len(pins) - len(missing) - len(others)} of {len(pins)} as in the lock"]
    if missing:
        parts.append("missing: " + _some(missing))
    if others:
        parts.append("other versions: " + _some([f"{n} {found[n]} ({pins[n]})" for n in others]))
    state = "broken" if asked & set(missing) else "absent" if missing or others else "ok"
    return Finding("packages", state, "; ".join(parts), "make setup")  # type: ignore[arg-type]


def installed(name: str) -> str | None:
    """The version of an installed package, None where it is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pins(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if version:
            yield _canonical(name), version


def _names(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield _canonical(line)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


# --------------------------------------------------------------------------------- devices


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """Names of the GPUs that torch can use; none where it is not installed."""
    if util.find_spec("torch") is None:
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found.append(f"{about.name} ({about.total_memory / 2**30:.0f} GiB)")
    return found


def driver_gpus() -> list[str]:
    """Names of the GPUs that the driver knows, whatever torch can do."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        asked = subprocess.run(
            [command, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [] if asked.returncode else [line for line in asked.stdout.splitlines() if line.strip()]


def examine_devices(wanted: int = 1) -> Iterator[Finding]:
    """Cores, GPUs, and whether as many devices are here as a training wants."""
    threads = os.environ.get("OMP_NUM_THREADS")
    limited = f", OMP_NUM_THREADS={threads}" if threads else ""
    yield Finding("CPU", "ok", f"{cores()} cores{limited}")
    if util.find_spec("torch") is None:
        yield Finding("torch", "broken", "not installed", "make setup")
        return
    found, known = gpus(), driver_gpus()
    if found:
        yield Finding("GPU", "ok", ", ".join(found))
    elif known:
        version = (installed("torch") or "").split("+")[0]
        do = (
            f".venv/bin/uv pip install --python .venv/bin/python torch=={version} --index-url "
            "https://download.pytorch.org/whl/cu126 (or the index of your driver's CUDA)"
        )
        text = f"{', '.join(known)}: this build of torch cannot use it, the CPU will be used"
        yield Finding("GPU", "absent", text, do)
    else:
        yield Finding("GPU", "absent", "none; trainings run on the CPU")
    if wanted > 1 and found and len(found) < wanted:
        text = f"a training wants {wanted} devices, {len(found)} are here"
        yield Finding("devices", "broken", text, "set `devices` of that training lower")


# --------------------------------------------------------------- library, SoundFont, commands


def examine_library(needed: bool) -> Finding:
    """libfluidsynth, without which no MIDI becomes sound."""
    if name := setup.find_libfluidsynth():
        return Finding("libfluidsynth", "ok", name)
    text = "missing" if needed else "missing; this run renders no MIDI"
    do = f"sudo apt-get install {setup.APT_PACKAGE} (others: fluidsynth by dnf, brew, conda)"
    return Finding("libfluidsynth", "broken" if needed else "absent", text, do)


def examine_soundfont(needed: bool) -> Finding:
    """The default SoundFont and its hash."""
    try:
        path = setup.check_soundfont()
    except UserError as error:
        state = "broken" if needed else "absent"
        text = " ".join(filter(None, (error.what, error.why and f"({error.why})")))
        return Finding("SoundFont", state, text, error.do)  # type: ignore[arg-type]
    return Finding("SoundFont", "ok", f"{path.name}, sha256 {setup.SOUNDFONT_SHA256[:16]}…")


def examine_commands() -> Iterator[Finding]:
    """Programs that some ways to run need."""
    for command, (use, do) in COMMANDS.items():
        if path := shutil.which(command):
            yield Finding(command, "ok", f"{path}: {use}")
        else:
            yield Finding(command, "absent", f"not here; for {use}", do)


def examine_fadtk(needed: bool) -> Finding:
    """fadtk: here, or in an environment of its own that conda can make."""
    if found := installed("fadtk"):
        return Finding("fadtk", "ok", found)
    do = "add --sdm conda to the command (envs/fadtk.yaml): it does not fit into this environment"
    if needed and not shutil.which("conda"):
        text = "not here, nor conda, and `evaluation.fadtk` asks for it"
        return Finding("fadtk", "broken", text, f"{COMMANDS['conda'][1]}; then {do}")
    text = "not here; conda makes its environment" if needed else "not here; not asked for"
    return Finding("fadtk", "absent", text, do)


def examine_audiolm_pytorch(needed: bool) -> Finding:
    """The seed's library: here, or in an environment of its own that conda can make."""
    try:
        check_installed()
    except UserError as error:
        if not needed:
            text = "not here; no run needs it, Étude has AudioLM of its own"
            return Finding("audiolm-pytorch", "absent", text, INSTALL)
        if shutil.which("conda"):
            text = "not here; conda makes its environment"
            do = f"add --sdm conda to the command, or: {INSTALL}"
            return Finding("audiolm-pytorch", "absent", text, do)
        return Finding("audiolm-pytorch", "broken", f"{error.what}, and the run's network", INSTALL)
    return Finding("audiolm-pytorch", "ok", RELEASE)
