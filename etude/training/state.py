"""The rolling state of a training: outside Snakemake's outputs, so that a killed job continues.

Each training has a folder results/state/<fingerprint>/. The fingerprint covers everything that
decides the result (settings, seed, data, upstream weights), so that a changed config or corpus
never meets an old state.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from etude.errors import UserError
from etude.storage import atomic, write_csv, write_json, write_text

log = logging.getLogger(__name__)
STATE_VERSION = 2


def fingerprint(settings: dict[str, Any], seed: int, data_hash: str, upstream: list[str]) -> str:
    """Hash of all that decides a training's result."""
    parts = [settings, seed, data_hash, sorted(upstream), STATE_VERSION]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


class TrainingState:
    """One training's folder: `state.pt` while it runs, `finished.pt` and kept steps for good.

    `history.csv` has the rows so far, for those who watch the training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rolling, self.finished = folder / "state.pt", folder / "finished.pt"
        self.history = folder / "history.csv"

    @contextmanager
    def locked(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Keep a second writer out: wait until the first has ended, then use its results.

        Raises:
            UserError: when it was told to stop while it waited.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("the same training runs in another process already; waiting for it")
            self._wait(lock, should_stop)
        try:
            yield
        finally:
            lock.release()

    def _wait(self, lock: FileLock, should_stop: Callable[[], bool]) -> None:
        while not should_stop():
            try:
                lock.acquire(timeout=1)
            except Timeout:
                continue
            return
        raise UserError(
            "this training already runs in another process",
            code="training-already-runs",
            where=str(self.folder),
            do="wait for it, or end it and start again",
        )

    def describe(self, description: dict[str, Any]) -> None:
        """Write down what the fingerprint stands for (for people, and for clean-up)."""
        write_json(self.folder / "about.json", description)

    def refer(self, training: str) -> None:
        """Note that this is the state of a training (`<experiment>/<stage>/seed-<n>`) from now on.

        A state without such a note is left over from earlier settings.
        """
        write_text(self.folder.parent / "refs" / training, self.folder.name + "\n")

    def load(self, path: Path) -> dict[str, Any] | None:
        """A saved state, or None; a file that cannot be read counts as none."""
        import torch

        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
            path.unlink()
            return None

    def save(self, path: Path, content: dict[str, Any]) -> None:
        """Write a state atomically."""
        import torch  # an onlooker can do without

        with atomic(path) as temporary:
            torch.save(content, temporary)

    def kept(self, step: int) -> Path:
        """Where the weights of a kept step lie."""
        return self.folder / f"step-{step}.safetensors"


def write_history(
    path: Path, columns: list[str], history: Iterable[Mapping[str, float | None]]
) -> None:
    """Rows of a training's history as CSV."""
    rows = ({n: "" if v is None else f"{v:.6g}" for n, v in row.items()} for row in history)
    write_csv(path, columns, rows)


def state_of(root: Path, training: str) -> TrainingState | None:
    """The state of a training (`<experiment>/<stage>/seed-<n>`) as it is now; None: none yet."""
    note = root / "refs" / training
    return (
        TrainingState(root / note.read_text(encoding="utf-8").strip()) if note.is_file() else None
    )


def open_state(folder: Path, training: str, about: dict[str, Any]) -> TrainingState:
    """The state of a training (`<experiment>/<stage>/seed-<n>`), described and referred to."""
    state = TrainingState(folder)
    state.folder.mkdir(parents=True, exist_ok=True)
    state.describe(about)
    state.refer(training)
    return state
