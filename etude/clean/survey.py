"""What under results/ nothing refers to any more, and what there is not ours to judge.

Only what is known to be ours is ever named for removal: outputs that Snakemake has on record and
that are as their rule left them, states that trainings have described, and the temporary names
of killed jobs. All else stays: notes, links, copies that somebody keeps, files that were changed.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from filelock import FileLock, Timeout

from etude.config import Config
from etude.storage import read_json

ROOT = "results"  # as the rules call it, wherever a link may lead
SLACK_S = 60.0  # between the clocks of a machine and of its file server

# What the folders below each of these are named by; then come shards, stages, seeds and files.
SECTIONS = {
    "corpora": ("corpora",),
    "cuts": ("corpora", "cuts"),
    "tokenizers": ("corpora", "tokenizers"),
    "tokens": ("corpora", "tokens"),
    "packed": ("corpora", "tokens"),
    "events": ("corpora", "tokens"),
    "pretrained": ("pretrained",),
    "verified": ("corpora", "tokenizers"),
    "verified_embeddings": ("corpora", "cuts"),
    "verified_texts": ("corpora", "tokenizers", "pretrained"),
    "criteria": ("experiments",),
    "memorisation": ("corpora", "cuts"),
    **dict.fromkeys(("models", "latents", "clips", "embeddings", "metrics"), ("experiments",)),
}
ALWAYS_KEPT = (
    "logs",
    "benchmarks",
    "tensorboard",
    "ownership",
)  # small, and of use to who asks later

# As etude.storage, etude.corpus.download and etude.tokenizers.pack name what is not whole yet.
LEFTOVER = re.compile(
    r"\..+\.(?P<pid>\d+)\.part(\.\w+)?|\..+\.download\.part|\.pack-[a-z0-9_]{8}", re.DOTALL
)
PIN = re.compile(r"corpora/[^/]+/archive\.json")  # ours, and no output: it outlives its archive
FINGERPRINT = re.compile(r"[0-9a-f]{24}")
OF_STATES = re.compile(r"lock|[\w-]+\.(pt|json|safetensors)")


class Output(NamedTuple):
    """An output on record: where the record lies, and when the output was finished."""

    record: Path | None = None
    ended: float = math.inf


@dataclass
class Unit:
    """A file or folder that may go.

    Attributes: path (relative to results/), where (the folder that stands for it in a list),
    why, files (absolute or relative as `results` is; what is ours of it), size (bytes), record
    (of Snakemake).
    """

    path: str
    where: str
    why: str
    files: list[Path] = field(default_factory=list)
    size: int = 0
    record: Path | None = None


@dataclass
class Survey:
    """What was found: units to remove, what is in doubt and why, and paths that are not ours."""

    units: list[Unit] = field(default_factory=list)
    doubtful: dict[str, str] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)


class Surveyor:
    """Looks through results/ and changes nothing; links are never followed.

    Args:
        config: names in it are in use.
        used: fingerprints of states that are in use, besides those that a finished training has.
        results: the folder.
        metadata: Snakemake's records, a file per output.
    """

    def __init__(self, config: Config, used: set[str], results: Path, metadata: Path) -> None:
        self.config, self.used, self.results = config, used, results
        self.outputs = dict(outputs_on_record(metadata))
        self.found = Survey()

    def survey(self) -> Survey:
        """Everything below results/."""
        for path, is_folder in _walk(self.results, self.outputs):
            if left := LEFTOVER.fullmatch(PurePosixPath(path).name):
                self._leftover(path, left["pid"])
            elif path in self.outputs or PIN.fullmatch(path):
                if gone := gone_name(path, self.config):
                    self._output(path, *gone)
            elif not is_folder:
                self.found.foreign.append(path)
        self._states()
        return self.found

    def _output(self, path: str, where: str, why: str) -> None:
        """Ours is what was not touched since; to copy or to move an entry counts as touching."""
        record, ended = self.outputs.get(path, Output())
        files, others = _content(self.results / path)
        late = {file for file in files if file.lstat().st_ctime > ended + SLACK_S}
        unit = Unit(path, where, why, [f for f in files if f not in late], record=record)
        self._add(unit, [*others, *sorted(late)])

    def _leftover(self, path: str, pid: str | None) -> None:
        if pid and _runs(int(pid)):
            self.found.doubtful[path] = f"process {pid}, which may be writing it, is alive"
            return
        files, links = _content(self.results / path)
        self._add(Unit(path, path, "left behind by a killed job", files), links)

    def _add(self, unit: Unit, others: list[Path]) -> None:
        unit.size = sum(file.lstat().st_size for file in unit.files)
        if unit.files or not others:
            self.found.units.append(unit)
        self.found.foreign += [file.relative_to(self.results).as_posix() for file in others]

    # --------------------------------------------------------------------------------- states

    def _states(self) -> None:
        """States that no training uses; those about which nothing is known are in doubt."""
        folder = self.results / "state"
        if folder.is_symlink() or not folder.is_dir():
            return
        used = self.used | {ref.read_text().strip() for ref in refs_in_use(folder, self.config)}
        for entry in sorted(folder.iterdir()):
            is_state = entry.is_dir() and not entry.is_symlink()
            if entry.name == "refs" and is_state:
                continue
            if is_state and FINGERPRINT.fullmatch(entry.name):
                self._state(entry, in_use=entry.name in used)
            else:
                self.found.foreign.append(f"state/{entry.name}")

    def _state(self, folder: Path, in_use: bool) -> None:
        path = f"state/{folder.name}"
        if is_locked(folder):
            if not in_use:
                self.found.doubtful[path] = "a training has it locked"
            return
        files, others = _content(folder)
        left = [file for file in files if LEFTOVER.fullmatch(file.name)]
        for file in left:
            self._leftover(f"{path}/{file.name}", LEFTOVER.fullmatch(file.name)["pid"])  # type: ignore[index]
        if in_use:
            return
        try:
            about = read_json(folder / "about.json")
            whose = f"{about['for']}, data {about['data_hash'][:8]}"
        except (OSError, ValueError, KeyError, TypeError):
            self.found.doubtful[path] = "it does not say which training it is of"
            return
        ours = [f for f in files if OF_STATES.fullmatch(f.name) and f.parent == folder]
        others += [f for f in files if f not in {*ours, *left}]
        self._add(Unit(path, path, f"no training uses it ({whose})", ours), others)


def gone_name(path: str, config: Config) -> tuple[str, str] | None:
    """The folder of a name that the configuration no longer has, and that in words; or nothing."""
    top, *parts = path.split("/")
    sections = SECTIONS.get(top, ())
    for depth, (section, name) in enumerate(zip(sections, parts, strict=False), start=1):
        plain = name.partition(".")[0]  # of a file; names have no dots
        if plain not in getattr(config, section):
            return "/".join([top, *parts[:depth]]), f"{plain!r} is not in `{section}`"
    shard = PurePosixPath(path).stem
    if sections[:1] == ("corpora",) and re.fullmatch(r"\d{4}", shard):
        shards = config.corpora[parts[0]].shards
        if int(shard) >= shards:
            return path, f"the corpus has {shards} shards now"
    return None


def refs_in_use(state: Path, config: Config) -> Iterator[Path]:
    """The notes which state a training has, of trainings that are configured or finished."""
    for ref in sorted((state / "refs").glob("*/*/seed-*")):
        name, stage, seed = ref.parts[-3:]
        experiment = config.experiments.get(name)
        if experiment is None or stage not in [p.name for p in experiment.stage_plans()]:
            continue
        configured = seed in [f"seed-{number}" for number in experiment.seeds.train]
        if configured or (state.parent / "models" / name / stage / seed).is_dir():
            yield ref


def drop_refs(state: Path) -> None:
    """Remove the notes that name a state which is gone."""
    for ref in sorted((state / "refs").glob("*/*/seed-*")):
        if not (state / ref.read_text().strip()).is_dir():
            ref.unlink()
            for folder in list(ref.parents)[:3]:
                with suppress(OSError):  # not empty
                    folder.rmdir()


def is_locked(state: Path) -> bool:
    """Whether a training holds the lock of its state."""
    if not (state / "lock").is_file():
        return False
    try:
        with FileLock(state / "lock", timeout=0):
            return False
    except Timeout:
        return True


def outputs_on_record(metadata: Path) -> Iterator[tuple[str, Output]]:
    """Every output that Snakemake knows to have made below results/, by its path there."""
    for folder, _, names in os.walk(metadata):
        inside = Path(folder).relative_to(metadata).parts
        for name in names:  # long names are cut into folders that begin with @
            record = Path(folder, name)
            try:
                code = "".join(part.removeprefix("@") for part in (*inside, name))
                path = PurePosixPath(base64.urlsafe_b64decode(code).decode())
                ended = float(json.loads(record.read_text(encoding="utf-8"))["endtime"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if path.parts[:1] == (ROOT,) and len(path.parts) > 1 and ".." not in path.parts:
                yield path.relative_to(ROOT).as_posix(), Output(record, ended)


def _walk(results: Path, outputs: Mapping[str, Output]) -> Iterator[tuple[str, bool]]:
    """Files, links and folders, relative; not what is inside of outputs, states and logs."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        for entry in sorted(os.scandir(results / prefix), key=lambda e: e.name):
            path, is_folder = prefix + entry.name, entry.is_dir(follow_symlinks=False)
            if is_folder and path in (*ALWAYS_KEPT, "state"):
                continue
            yield path, is_folder
            if is_folder and path not in outputs and not LEFTOVER.fullmatch(entry.name):
                waiting.append(path + "/")


def _content(top: Path) -> tuple[list[Path], list[Path]]:
    """The regular files of a file or folder, sorted, and the links and other things in it."""
    entries = [top]
    if top.is_dir() and not top.is_symlink():
        tree = list(os.walk(top))
        entries = [Path(folder, name) for folder, _, names in tree for name in names]
        links = (Path(folder, name) for folder, names, _ in tree for name in names)
        entries += [path for path in links if path.is_symlink()]
    files = [path for path in sorted(entries) if path.is_file() and not path.is_symlink()]
    return files, sorted(set(entries) - set(files))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
