"""A studio for tests: an export that says what it is, a worker with a toy, a client."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import soundfile
from starlette.testclient import TestClient

from etude.config import StudioSettings
from etude.storage import write_json
from etude.studio.app import application
from etude.studio.guard import Door
from etude.studio.instruments import find_instruments
from etude.studio.primes import Decoders
from etude.studio.queue import Queue
from etude.studio.state import StudioState
from etude.studio.store import Store

ROOT = Path(__file__).resolve().parents[1]
WORKER = [sys.executable, str(ROOT / "tests/studio_worker.py")]
ORIGIN = {"Origin": "http://testserver"}
NOTES = [[0, 0.5, 60, 80], [0.5, 1, 64, 80], [1, 1.5, 67, 80]]


def write_export(folder, name="notes", system="symbolic_lm", **generate):
    """What export.json says of a model, without a model."""
    about = {"format": 1, "train_seed": 0, "sha256": {}, "system": system, "experiment": name}
    write_json(folder / "export.json", about | {"generate": generate, "corpus": {}})
    return folder


def toy_queue(store, limits, devices, exports):
    """A queue whose workers have the toy."""
    queue = Queue(store, limits, devices, exports)
    for worker in queue.workers:
        worker.command = [*WORKER, *worker.command[3:]]
    return queue


def open_studio(tmp_path, limits=None, devices=("cpu",), codes=(None, None), **more):
    """The state of a studio with a toy."""
    limits = StudioSettings(**(limits or {}))
    exports = tmp_path / "exports"
    if not exports.exists():
        write_export(exports / "notes")
        write_export(exports / "sound", "sound", "audiolm")
    store = Store(tmp_path / "data")
    instruments = find_instruments([exports])
    folders = [instrument.exported.folder for instrument in instruments.values()]
    return StudioState(
        store=store,
        limits=limits,
        instruments=instruments,
        door=Door(store, *codes),
        decoders=Decoders(store, limits.prime_seconds, 120),  # a laden machine is no fault
        queue=toy_queue(store, limits, devices, folders),
        **more,
    )


@contextlib.contextmanager
def serving(state, **options):
    """A client of a studio in this process; it has a cookie."""
    with TestClient(
        application(state, {"testserver"}), raise_server_exceptions=False, **options
    ) as client:
        client.headers.update(ORIGIN)
        client.get("/")
        yield client


def model(client, name="notes"):
    return next(m["id"] for m in client.get("/api/me").json()["models"] if m["name"] == name)


def ask(client, **more):
    return client.post("/api/jobs", json={"model": model(client), "seconds": 1.0} | more)


def ended(client, job, seconds=20.0):
    """The job once it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = client.get(f"/api/jobs/{job}").json()
        if found["state"] not in ("waiting", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"still {found}")


def running(client, job, seconds=15.0):
    """The job once it runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = client.get(f"/api/jobs/{job}").json()
        if found["state"] == "running" and found["stage"] == "toy":
            return found
        time.sleep(0.02)
    raise AssertionError(f"still {found}")


def tone(path, hertz=440.0, seconds=1.0, rate=24000):
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, wave, rate)
    return path


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def server(folder, exports, *options, toy=True, env=None):
    """A studio in a process of its own, at an address; it is killed at the end."""
    port, secure = free_port(), {"--make-certificate", "--tls-cert"} & set(options)
    program = [str(ROOT / "tests/studio_serve.py")] if toy else ["-m", "etude", "studio"]
    words = ["--from", str(exports), "--folder", str(folder), "--port", str(port), *options]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, *program, *words],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | (env or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    address = f"http{'s' * bool(secure)}://127.0.0.1:{port}"
    anyone = ssl._create_unverified_context()  # nobody vouches for it
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                json.load(urllib.request.urlopen(f"{address}/healthz", timeout=2, context=anyone))
                break
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.1)
        else:
            raise AssertionError("the studio does not answer")
        yield address, process
    finally:
        process.kill()
        process.wait()
