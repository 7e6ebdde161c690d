"""A training on several devices of one machine: a process for each, started and ended from here.

Every process runs `train_stage`; the first writes the stage's folder, the others discard theirs.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etude.errors import UserError
from etude.systems.base import Parts

POLL_S = 0.2
TEMPORARY_FAILURE = 75  # as in scripts/adapter.py
PATHS = ("folder", "state_root", "tensorboard", "weights")


def launch(
    wanted: Mapping[str, Any], devices: int, threads: int, should_stop: Callable[[], bool]
) -> bool:
    """Train by `devices` processes; whether it was stopped on request, with its state saved.

    Args:
        wanted: arguments of `train_stage`, the experiment as its JSON.

    Raises:
        UserError: a process failed; its message is above.
    """
    with tempfile.TemporaryDirectory(prefix="etude-devices-") as scratch:
        port, began = _free_port(), []
        for index in range(devices):
            own = dict(wanted)
            if index:  # the same last names, elsewhere
                own["folder"] = Path(scratch, str(index), *Path(wanted["folder"]).parts[-3:])
                own["tensorboard"] = None
            file = Path(scratch, f"{index}.json")
            file.write_text(json.dumps(own, default=_plain), encoding="utf-8")
            variables = _variables(index, devices, threads, port)
            command = [sys.executable, "-m", "etude.training.launch", str(file)]
            began.append(subprocess.Popen(command, env=os.environ | variables))
        codes = _wait(began, should_stop)
    if set(codes) == {TEMPORARY_FAILURE}:
        return True
    if any(codes):
        raise UserError(
            f"a training on {devices} devices failed",
            code="device-failed",
            where=str(wanted["folder"]),
            why=f"its processes ended with {codes}; their messages stand above",
            do="fix that, then run the same command again",
        )
    return False


def _plain(value: Any) -> Any:
    """Paths and parts as JSON has them; how music is played does not matter here."""
    if isinstance(value, Parts):
        return {key: getattr(value, key) for key in ("packed", "tokenizers", "models", "latents")}
    return str(value)


def _parts(values: Mapping[str, Any]) -> Parts:
    folders: dict[str, Any] = {
        key: {name: Path(path) for name, path in values[key].items()}
        for key in ("tokenizers", "models", "latents")
    }
    return Parts(packed=Path(values["packed"]), **folders)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _variables(index: int, count: int, threads: int, port: int) -> dict[str, str]:
    """What torch and accelerate read of a launcher."""
    root = str(Path(__file__).resolve().parents[2])
    return {
        "RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(max(1, threads // count)),
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }  # fmt: skip


def _wait(began: list[subprocess.Popen[bytes]], should_stop: Callable[[], bool]) -> list[int]:
    """Exit statuses; a request to stop is passed on, and after one failure the rest are ended."""
    asked = False
    while any(process.poll() is None for process in began):
        failed = any(p.poll() not in (None, 0, TEMPORARY_FAILURE) for p in began)
        if failed or (should_stop() and not asked):
            asked = True
            for process in began:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL if failed else signal.SIGTERM)
        time.sleep(POLL_S)
    return [process.returncode for process in began]


def main(file: Path) -> int:
    """One of the processes."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(1))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from etude.config import Experiment, parse_section
    from etude.training.loop import Interrupted
    from etude.training.stage import train_stage

    wanted = json.loads(file.read_text(encoding="utf-8"))
    wanted |= {key: Path(wanted[key]) for key in PATHS if wanted.get(key)}
    wanted["parts"] = _parts(wanted["parts"])
    wanted["experiment"] = parse_section(Experiment, wanted["experiment"])
    try:
        train_stage(**wanted, should_stop=lambda: bool(stopped))
    except Interrupted:
        return TEMPORARY_FAILURE
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
