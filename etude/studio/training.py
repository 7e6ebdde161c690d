"""Trainings that the operator starts from the browser, of what was registered on the command line.

A training is a run of the workflow in the folder in which the studio was started, with one of the
configuration files of `--train` and choices from a list: which of its concepts, how long. It has a
name of its own, so that no experiment of that folder is trained again. What is trained is exported
into the studio's folder and played at once. No text of a request becomes YAML, a path or a name.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from etude import config
from etude.config import ExperimentBase
from etude.errors import UserError
from etude.generation.manifest import ABOUT
from etude.storage import read_csv, write_text
from etude.studio.instruments import ID, Instrument
from etude.studio.store import Row, Store
from etude.training.state import state_of

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
TRAINED = "trained"  # below the studio's folder: exports of what was trained here
PREFIX = "studio_"  # of the names of experiments that are trained here
LENGTHS = {"try": 0.1, "short": 0.5, "full": 1.0}  # shares of the configured steps
GRACE_SECONDS = 30.0  # that a run has to save its state when it is stopped
STEPS = re.compile(rb"(\d+) of (\d+) steps \((\d+)%\) done")
TAIL = 16_384  # bytes of a run's log that are looked at
FAILED = "The training ended with an error; the studio's folder has its log."


class Choice(BaseModel):
    """What the operator chose: words from lists, nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    plan: str = Field(pattern=f"^{ID}$")
    concepts: list[str] = Field([], max_length=200)
    length: str = Field("full", max_length=20)


@dataclass(frozen=True)
class TrainingPlan:
    """A configuration file that may be trained.

    Attributes: id, file, name (of its experiment), experiment.
    """

    id: str
    file: Path
    name: str
    experiment: ExperimentBase

    @classmethod
    def of(cls, file: Path) -> TrainingPlan:
        """That of a file.

        Raises:
            UserError: it cannot be read, or names several experiments, or none that is trained.
        """
        settings = config.read(config.DEFAULT, file)
        trained = [n for n in settings.run if getattr(settings.experiments.get(n), "trained", None)]
        if len(settings.run) != 1 or not trained:
            raise UserError(
                "a file of --train names one experiment that is trained",
                code="not-one-experiment",
                where=str(file),
                why=f"its `run` is {settings.run}",
                do="write one file for each",
            )
        digest = hashlib.sha256(file.read_bytes() + str(file).encode()).hexdigest()[:16]
        return cls(digest, file.absolute(), trained[0], settings.experiments[trained[0]])

    @property
    def concepts(self) -> list[str]:
        """The concepts that can be chosen among; none of most systems."""
        return list(getattr(self.experiment, "concepts", ()))

    def as_json(self) -> Row:
        """As the page gets it."""
        lengths = list(LENGTHS)
        same = {"id": self.id, "name": self.name, "corpus": self.experiment.corpus}
        return same | {"concepts": self.concepts, "lengths": lengths}

    def overlay(self, choice: Choice) -> Row:
        """What is merged over the file.

        Raises:
            UserError: a choice that is not in the list, or that does not make a configuration.
        """
        if choice.length not in LENGTHS or not set(choice.concepts) <= set(self.concepts):
            raise UserError(
                "that is none of the choices", code="unknown-choice", do="reload the page"
            )
        raw = config.merge(_read(config.DEFAULT), _read(self.file))["experiments"][self.name]
        if self.concepts:
            raw = raw | {"concepts": [c for c in self.concepts if c in choice.concepts]}
            if not raw["concepts"]:
                raise UserError("no concept is chosen", code="no-concept-chosen")
        stages = {
            name: {"training": _shorter(stage.training, LENGTHS[choice.length])}
            for name, stage in getattr(self.experiment, "stages", ())
            if not stage.imported and choice.length != "full"
        }
        entry = config.merge(raw, {"stages": stages} if stages else {})
        made = {"run": [PREFIX + self.name], "experiments": {PREFIX + self.name: entry}}
        config.read(config.DEFAULT, self.file, overrides=made)
        return made


def _read(file: Path) -> Row:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")) or {})


def _shorter(training: Any, share: float) -> Row:
    steps = max(int(training.steps * share), min(training.steps, 10))
    return {"steps": steps, "warmup_steps": min(training.warmup_steps, steps // 4)}


class Trainings:
    """Starts runs, one at a time, and looks after them.

    Args:
        files: what may be trained.
        cores: of a run.
    """

    def __init__(self, store: Store, files: Sequence[Path], cores: int | None = None) -> None:
        self.store = store
        self.plans = {plan.id: plan for plan in map(TrainingPlan.of, files)}
        self.cores = cores or os.cpu_count() or 1
        self.process: subprocess.Popen[bytes] | None = None
        self.job: Row | None = None
        self.log: IO[bytes] | None = None
        self.asked_to_stop = 0.0

    def begin(self, visitor: str, choice: Choice) -> str:
        """Add a training at the end of the queue; its id.

        Raises:
            UserError: it is none of the choices.
        """
        plan = self.plans.get(choice.plan)
        if plan is None:
            raise UserError(
                "there is no such training here", code="unknown-training", do="reload the page"
            )
        plan.overlay(choice)
        return self.store.add_job(visitor, "train", choice.model_dump(mode="json"))

    def tick(self) -> Instrument | None:
        """Start what waits, look how far it is; gives back a model that has become ready."""
        if self.process is None:
            self.job = self.store.claim("training", "train")
            if self.job is not None:
                self._start(self.job)
            return None
        assert self.job is not None
        ended = self.process.poll()
        if ended is None:
            self._watch(self.job)
            return None
        return self._end(self.job, ended)

    def place(self, job: str) -> Path:
        """The folder of a training: its overlay and its log."""
        return self.store.folder / "trainings" / job

    def _start(self, job: Row) -> None:
        choice = Choice.model_validate_json(job["ask"])
        plan, place = self.plans.get(choice.plan), self.place(job["id"])
        if plan is None:
            self.store.end(job["id"], "failed", "This is not registered any more.")
            return
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(place / "choices.yaml", yaml.safe_dump(plan.overlay(choice), sort_keys=False))
        name, seed = PREFIX + plan.name, plan.experiment.seeds.train[0]
        targets = [
            f"results/models/{name}/{stage.name}/seed-{seed}/model.safetensors"
            for stage in plan.experiment.stage_plans()
        ]
        exported = str((self.store.folder / TRAINED / job["id"]).absolute())
        configs = ["--configfile", str(plan.file), str((place / "choices.yaml").absolute())]
        # `resume` ends what a killed server has left behind, and continues where it was.
        train = [sys.executable, "-m", "etude", "resume", *targets, "-s", str(ROOT / "Snakefile")]
        train += ["--cores", str(self.cores), "--resources", "gpu=1", *configs]
        export = [sys.executable, "-m", "etude", "export", "--experiment", name]
        export += ["--output", exported, *configs]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
        self.log = (place / "log").open("ab")
        self.asked_to_stop = 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOTH, str(len(train)), *train, *export],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )

    def _watch(self, job: Row) -> None:
        """Tell how far it is; stop it where somebody asked."""
        assert self.process is not None
        found = STEPS.findall(_tail(self.place(job["id"]) / "log"))
        if found:
            self.store.tell(job["id"], "training", float(found[-1][2]), 0.0)
        if not self.store.is_cancelled(job["id"]):
            return
        now = time.monotonic()
        if not self.asked_to_stop:
            self.asked_to_stop = now
            self._signal(signal.SIGINT)
        elif now > self.asked_to_stop + GRACE_SECONDS:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _end(self, job: Row, code: int) -> Instrument | None:
        self.process = None
        if self.log is not None:
            self.log.close()
        cancelled = self.store.is_cancelled(job["id"])
        if code or cancelled:
            self.store.end(
                job["id"], "cancelled" if cancelled else "failed", "" if cancelled else FAILED
            )
            return None
        self.store.end(job["id"], "done")
        return Instrument.of(self.store.folder / TRAINED / job["id"])

    def stop(self) -> None:
        """The server ends: the run is told to; what it has is kept, and continues later."""
        if self.process is None or self.process.poll() is not None:
            return
        self._signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_SECONDS / 3)
        self._signal(signal.SIGKILL)


# Trains, and exports what was trained; a stop between the two is one too.
BOTH = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, lambda *_: None)  # the run obeys it; this waits until it has
n = int(sys.argv[1])
sys.exit(subprocess.call(sys.argv[2:2 + n]) or subprocess.call(sys.argv[2 + n:]))
"""


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - TAIL, 0))
            return file.read()
    except OSError:
        return b""


def curves(plan: TrainingPlan, job: Row, results: Path = Path("results")) -> Row:
    """Columns of the history by stage: [step, value] of each figure that there is so far.

    While it trains they are those of its state; what lies there of another day is not shown.
    """
    found: Row = {}
    for stage in plan.experiment.stage_plans():
        name = f"{PREFIX}{plan.name}/{stage.name}/seed-{plan.experiment.seeds.train[0]}"
        path = results / "models" / name / "history.csv"
        if job["state"] != "done":
            state = state_of(results / "state", name)
            path = state.history if state else path
            if not path.is_file() or path.stat().st_mtime < (job["started"] or math.inf):
                continue
        if not path.is_file():
            continue
        lines: dict[str, list[list[float]]] = {}
        for row in read_csv(path):
            for figure, value in row.items():
                if figure != "step" and value and not figure.endswith(("_rate", "_norm")):
                    lines.setdefault(figure, []).append([float(row["step"]), float(value)])
        if lines := {figure: points for figure, points in lines.items() if len(points) > 1}:
            found[stage.name] = lines
    return found


def trained_exports(folder: Path) -> list[Path]:
    """The exports of what was trained in a studio's folder."""
    return sorted(place.parent for place in (folder / TRAINED).glob(f"*/{ABOUT}"))
