"""Looks after workers: starts them, ends what hangs, and sees that no job is lost or made twice."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from etude.config import StudioSettings
from etude.studio.store import HOUR, Row, Store
from etude.studio.sweep import sweep

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
TICK_SECONDS = 0.2
ATTEMPTS = 2  # a job that has ended two workers is not tried again
DIED = "The program that made this ended twice; it is not tried again."
TOO_LONG = "This took longer than is allowed here."
RESTS = (1.0, 2.0, 5.0, 15.0)  # seconds before a worker that ends at once is started again


class WorkerProcess:
    """The process of one device.

    Args:
        command: what is run; the device and the server's pid are put after it.
    """

    def __init__(self, device: str, command: Sequence[str]) -> None:
        self.device, self.command = device, command
        self.process: subprocess.Popen[bytes] | None = None
        self.failures, self.not_before, self.started = 0, 0.0, 0.0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process, on this device alone."""
        gpu = self.device.partition(":")[2] if self.device != "cpu" else ""
        env = os.environ | {"CUDA_VISIBLE_DEVICES": gpu or ("0" if self.device != "cpu" else "")}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
        env["PYTHONPATH"] = os.pathsep.join(paths)
        words = [*self.command, "--device", self.device, "--parent", str(os.getpid())]
        self.process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL)
        self.started = time.monotonic()

    def kill(self) -> None:
        """End it now."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def tended(self, now: float) -> bool:
        """Start it where it does not run; whether it had ended by itself."""
        if self.alive:
            return False
        ended = self.process is not None
        if ended:
            brief = now - self.started < 10
            self.failures = self.failures + 1 if brief else 0
            rest = RESTS[min(self.failures, len(RESTS)) - 1] if self.failures else 0.0
            self.not_before = now + rest
            self.process = None
        if now >= self.not_before:
            self.start()
        return ended


class Queue:
    """All workers, and what happens to their jobs."""

    def __init__(
        self, store: Store, limits: StudioSettings, devices: Sequence[str], exports: Sequence[Path]
    ) -> None:
        self.store, self.limits = store, limits
        command = [sys.executable, "-m", "etude.studio.worker", "--folder", str(store.folder)]
        command += ["--from", *map(str, exports)]
        self.workers = [WorkerProcess(device, command) for device in devices]
        self.swept = 0.0

    def recover(self) -> None:
        """What ran when the last server ended waits again."""
        for job in self.store.running():
            self._lost(job)

    def _lost(self, job: Row) -> None:
        """A job whose worker is gone."""
        if job["cancel"] is not None:
            self.store.end(job["id"], "cancelled")
        elif job["attempts"] >= ATTEMPTS:
            self.store.end(job["id"], "failed", DIED)
        else:
            self.store.again(job["id"])

    def tick(self) -> None:
        """Start, end and sweep whatever is due."""
        now, wall = time.monotonic(), time.time()
        for worker in self.workers:
            for job in self.store.running(worker.device):
                if job["kind"] != "clips":
                    continue
                deaf = job["cancel"] is not None and wall > job["cancel"] + self.limits.deaf_seconds
                late = wall > job["started"] + self.limits.job_seconds
                if deaf or late:
                    log.warning("job %s: its worker is ended", job["number"])
                    worker.kill()
                    state = "cancelled" if job["cancel"] is not None else "failed"
                    self.store.end(job["id"], state, "" if state == "cancelled" else TOO_LONG)
                    worker.process = None
            if worker.tended(now):
                log.warning("the worker of %s has ended; it is started again", worker.device)
                for job in self.store.running(worker.device):
                    self._lost(job)
        if now - self.swept > HOUR or not self.swept:
            self.swept = now
            sweep(self.store, self.limits)

    async def run(self) -> None:
        """Tick until cancelled; then end the workers."""
        self.recover()
        try:
            while True:
                try:
                    self.tick()
                except Exception:
                    log.exception("the queue stumbled")  # a full disk passes; the queue must go on
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for worker in self.workers:
                worker.kill()

    @property
    def alive(self) -> int:
        """Workers that run."""
        return sum(worker.alive for worker in self.workers)
