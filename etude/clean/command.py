"""`python -m etude clean`: the list, and with --delete the removal."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from etude import config, runs
from etude.clean.survey import ROOT, Survey, Surveyor, Unit, drop_refs
from etude.config import Config, TrainedExperiment
from etude.errors import UserError

RESULTS = Path(ROOT)
SNAKEMAKE = Path(".snakemake")
SHOWN = 20  # lines of a list


def clean(configfiles: Sequence[Path], delete: bool) -> list[str]:
    """List what nothing refers to any more, or remove it.

    Args:
        configfiles: laid over the default; none: those of the last run in this folder.
        delete: whether to remove what is listed.

    Returns:
        what to tell.

    Raises:
        UserError: it is not known what is configured; or something runs here and `delete` is asked.
    """
    if RESULTS.is_file() or not RESULTS.exists():
        return ["there is no folder results/ here: nothing to clean"]
    files = list(configfiles) or of_last_run()
    settings = config.read(config.DEFAULT, *files)
    if delete:
        refuse_if_in_use()
    used = fingerprints(settings, RESULTS)
    results = RESULTS.resolve()  # it may be a link to another disk itself
    found = Surveyor(settings, used, results, SNAKEMAKE / "metadata").survey()
    names = ", ".join(map(str, files)) or "config/config.yaml alone"
    lines = [f"in use is what the configuration names: {names}", *_in_use_lines(found)]
    total = sum(unit.size for unit in found.units)
    if not delete:
        return [*lines, "", f"{_size(total)} in all; nothing was removed, --delete does it"]
    problems = [problem for unit in found.units for problem in remove(unit, results)]
    drop_refs(results / "state")
    done = "removed" if not problems else "removed, apart from:"
    return [*lines, "", f"{_size(total)} {done}", *(f"  {problem}" for problem in problems)]


def of_last_run(records: Path = runs.RECORDS) -> list[Path]:
    """The configuration files of the last run in this folder.

    Raises:
        UserError: there is no record of it, or it was given more than files.
    """
    command = runs.last_command(records)
    do = "name the files: python -m etude clean --configfile mine.yaml (config/config.yaml where "
    do += "there is none of your own)"
    if command is None:
        raise UserError("it is not known what is configured", why="no run is on record", do=do)
    arguments, folder = command
    files: list[Path] = []
    option = ""
    for argument in arguments:
        if argument.startswith("-"):
            option, _, value = argument.partition("=")
            if option in ("--config", "-C", "--profile", "--workflow-profile"):
                why = f"the last run was given {option}"
                raise UserError("it is not known what is configured", why=why, do=do)
            argument = value
        if option in ("--configfile", "--configfiles") and argument:
            files.append(folder / argument)
    return files


def refuse_if_in_use() -> None:
    """See that nothing runs in this folder.

    Raises:
        UserError: something does, or may.
    """
    runs.refuse_if_alive(then="clean")
    jobs = [f"{rule} (pid {process.pid})" for process, rule in runs.jobs_alive().items()]
    if jobs or any((SNAKEMAKE / "locks").glob("*.lock")):
        raise UserError(
            "a run is alive in this folder, or one was killed",
            where=str(SNAKEMAKE.resolve().parent),
            why=f"alive: {', '.join(jobs)}" if jobs else "Snakemake has the folder locked",
            do="wait for it, or go on with it (`make resume`); then clean",
        )


def fingerprints(settings: Config, results: Path) -> set[str]:
    """The states of all configured trainings whose data there are (a ref has the rest)."""
    found: set[str] = set()
    for name, experiment in settings.experiments.items():
        packed = results / "packed" / experiment.corpus / experiment.tokens
        if isinstance(experiment, TrainedExperiment) and (packed / "info.json").is_file():
            for seed in experiment.seeds.train:
                folder = f"{name}/{{}}/seed-{seed}"
                found.update(_of_training(experiment, seed, packed, results, folder))
    return found


def _of_training(
    experiment: TrainedExperiment, seed: int, packed: Path, results: Path, folder: str
) -> Iterator[str]:
    """The states of an experiment's stages; `folder` is a stage's, below results/models/."""
    from etude.systems.base import Parts  # imports torch
    from etude.training.stage import stage_fingerprint
    from etude.workflow.imported_weights import weights_file

    table = results / "corpora" / experiment.corpus / "captions.csv"
    captions = table if experiment.reads_captions else None
    for plan in experiment.stage_plans():
        given = weights_file(plan.settings.weights, plan.name, seed)
        models, latents = experiment.learns_from(plan.name)
        parts = Parts(
            packed=packed,
            models={name: results / "models" / folder.format(name) for name in models},
            latents={name: results / "latents" / folder.format(name) for name in latents},
            captions=captions,
        )
        needed: list[Path | str] = [
            *given,
            *([captions] if captions else []),
            *parts.models.values(),
            *parts.latents.values(),
        ]
        if plan.settings.imported or not all(Path(file).exists() for file in needed):
            continue  # nothing was trained, or only its ref knows what it began with
        weights = Path(given[0]) if given else None
        yield stage_fingerprint(experiment, plan.name, parts, seed, weights)


def remove(unit: Unit, results: Path) -> list[str]:
    """Remove a unit's files, then the folders that this left empty; what could not be removed."""
    problems = []
    with ExitStack() as stack:
        if (results / unit.path / "lock") in unit.files:
            try:
                stack.enter_context(FileLock(results / unit.path / "lock", timeout=0))
            except Timeout:
                return [f"{unit.path}: a training has it locked by now"]
        for file in unit.files:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                problems.append(f"{file}: {error.strerror}")
    folders = {parent for file in unit.files for parent in file.parents}
    top = results / unit.path
    folders |= {top, *top.parents}
    if top.is_dir():
        folders |= {Path(folder) for folder, _, _ in os.walk(top)}
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        if results in folder.parents:
            with suppress(OSError):  # not empty, or not a folder
                folder.rmdir()
    if unit.record and not os.path.lexists(top):
        unit.record.unlink(missing_ok=True)
    return problems


# ----------------------------------------------------------------------------------- the list


def _in_use_lines(found: Survey) -> list[str]:
    lines = [""]
    sizes: defaultdict[tuple[str, str], int] = defaultdict(int)
    for unit in found.units:
        sizes[unit.where, unit.why] += unit.size
    lines += ["nothing refers to:" if sizes else "everything is referred to"]
    rows = sorted(sizes.items(), key=lambda item: -item[1])
    lines += [f"  {_size(size):>9}  {where}  ({why})" for (where, why), size in rows]
    if found.doubtful:
        lines += ["", "left alone, in doubt:"]
        lines += [f"  {path}  ({why})" for path, why in found.doubtful.items()]
    if found.foreign:
        lines += ["", "not ours (no rule made it, or it was changed since), left alone:"]
        lines += _shortened(found.foreign)
    return lines


def _shortened(paths: Iterable[str]) -> list[str]:
    """One line for each path, or for a folder of many."""
    paths = sorted(paths)
    counts = Counter(path.rpartition("/")[0] for path in paths)
    lines: dict[str, None] = {}
    for path in paths:
        folder = path.rpartition("/")[0]
        many = counts[folder] > 3 and folder
        lines[f"{folder}/ ({counts[folder]} files)" if many else path] = None
    shown = [f"  {line}" for line in lines]
    return shown[:SHOWN] + [f"  … and {len(shown) - SHOWN} more"] * (len(shown) > SHOWN)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
