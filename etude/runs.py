"""What of a run is still alive, and how to go on after Snakemake itself was killed.

A killed Snakemake (kill -9, out of memory, a closed laptop) leaves its lock behind, and its jobs
go on without it. `record_main` and `record` note who runs here, by pid and time of birth, so that
a pid that was given to another process since is never mistaken for ours. The main process also
puts a mark into its environment, which everything it starts inherits: pool workers that outlived
their job are found by it. `resume` reads the notes, ends what was left behind, unlocks, and
repeats the command; jobs in a SLURM cluster are cancelled first (`etude.slurm`). Read at parse
time, so: standard library and psutil only.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from etude import slurm
from etude.errors import UserError
from etude.processes import Process, ancestors, birth, is_alive, marked, parents_of_all

RECORDS = Path(".snakemake/etude")
MARK = "ETUDE_RUN"
LAST_WORDS = "stopped; run the same command again, it goes on where it was"
DEFAULT_ARGS = ("--cores", "all")
GRACE_S = 10.0  # training saves its state on SIGTERM; ten seconds are enough for that
SETTLE_S = 0.5  # the shell around a job ends by itself, just after it
RESUME = "make resume (elsewhere: etude resume), which ends the jobs that were left behind too"
WORKERS_GRACE_S = 2.0  # a worker without its job has nothing to save
SNAKEFILE = Path(__file__).resolve().parents[1] / "Snakefile"


def run_workflow(cores: int | str, *arguments: str, configfiles: Sequence[Path] = ()) -> int:
    """Run Snakemake on this checkout's workflow, in the current folder; its exit status."""
    files = ["--configfile", *map(str, configfiles)] if configfiles else []
    command = [sys.executable, "-m", "snakemake", "-s", str(SNAKEFILE), "--cores", str(cores)]
    return subprocess.run([*command, *arguments, *files], check=False).returncode


# ------------------------------------------------------------------------------- the records


def record_main(folder: Path = RECORDS, remote: bool = False) -> None:
    """Note that this process is the Snakemake of the folder; call it in `onstart`.

    `remote` says that its jobs go to a cluster.

    Marks the environment, so that everything the run starts can be told apart, and clears the
    records of jobs that are gone. In the sub-processes that Snakemake starts for single jobs it
    does nothing.
    """
    arguments = sys.argv[1:]
    if "--mode" in arguments:  # a job of a run (SLURM step, run: directive), not the run
        return
    os.environ[MARK] = run = uuid.uuid4().hex
    _have_last_words()
    for path, note in _records(folder, "job"):
        if note["host"] == _host() and not is_alive(_process(note)):
            path.unlink(missing_ok=True)
    is_snakemake = any(part.startswith("snakemake") for part in Path(sys.argv[0]).parts[-2:])
    _write(
        folder / "main.json",
        {
            **_self(),
            "run": run,
            "state": "running",
            "remote": remote,
            "args": arguments if is_snakemake else None,
            "python": sys.executable,
            "launched_in": _launched_in(arguments),
        },
    )


def _have_last_words() -> None:
    """After Ctrl-C the last line says how to go on; Snakemake's says that a job did not end."""
    before = signal.getsignal(signal.SIGINT)

    def interrupted(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        atexit.register(print, LAST_WORDS, file=sys.stderr)
        if callable(before):
            before(number, frame)

    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupted)


def forget_main(folder: Path = RECORDS) -> None:
    """Note that the run came to its own end; call it in `onsuccess` and `onerror`.

    The command stays on record, so that `resume` repeats it after an ordinary failure too.
    """
    note = _read(folder / "main.json")
    if note and note["pid"] == os.getpid():
        _write(folder / "main.json", {**note, "state": "ended"})


@contextmanager
def record(rule: str, folder: Path = RECORDS) -> Iterator[None]:
    """Note for the length of a `with` block that this process is a job of the rule.

    A job is never stopped because the note cannot be written (a read-only folder, a full disk).
    """
    path = folder.resolve() / f"job-{_host()}-{os.getpid()}.json"
    try:
        _write(path, {**_self(), "rule": rule, "slurm": slurm.job_id()})
    except OSError as error:
        print(f"etude: this job is not on record for `make resume`: {error}", file=sys.stderr)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _self() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "birth": birth(os.getpid()),
        "host": _host(),
        "workdir": str(Path.cwd()),
    }


def _host() -> str:
    return socket.gethostname().replace(os.sep, "_")


def _launched_in(arguments: Sequence[str]) -> str:
    """Where the command was typed: `--directory` and `--configfile` are relative to it."""
    here, typed, target = Path.cwd(), Path(os.environ.get("PWD", "")), ""
    for argument, value in zip(arguments, [*arguments, ""][1:], strict=True):
        if argument in ("-d", "--directory"):
            target = value
        elif argument.startswith("--directory="):
            target = argument.partition("=")[2]
    return str(typed if target and (typed / target).resolve() == here.resolve() else here)


def _process(note: dict[str, Any]) -> Process:
    return Process(note["pid"], note["birth"])


def _write(path: Path, note: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(note, indent=1))
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none that can be read."""
    try:
        note = json.loads(path.read_text())
        return note if {"pid", "birth", "host"} <= note.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _records(folder: Path, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob(f"{kind}*.json")):
        if note := _read(path):
            yield path, note


# ------------------------------------------------------------------------------------ resume


def resume(args: Sequence[str] = (), folder: Path = RECORDS) -> NoReturn:
    """End what a crashed run left behind, unlock the folder and repeat the run's command.

    `args` are Snakemake's arguments where another command is wanted. This process becomes
    Snakemake, so that Ctrl-C reaches it as it would reach the first run.

    Raises:
        UserError: a run is still alive in this folder, its records are of another machine, or
            Snakemake cannot unlock.
    """
    note = _read(folder / "main.json") or {}
    refuse_if_running(folder)
    lines = slurm.cancel_jobs(folder.resolve().parent.parent) if note.get("remote") else []
    refuse_if_alive(folder)
    for line in [*lines, *end_orphans(folder, run=note.get("run"))]:
        print(line)
    command = list(args or note.get("args") or DEFAULT_ARGS)
    python = note.get("python", "")
    python = python if os.access(python, os.X_OK) else sys.executable
    launched_in = note.get("launched_in", "")
    os.chdir(launched_in if not args and Path(launched_in).is_dir() else ".")
    unlock = [python, "-m", "snakemake", "--unlock", *command]
    if subprocess.run(unlock, check=False).returncode:
        raise UserError(
            "Snakemake could not unlock this folder",
            where=str(Path.cwd()),
            why="its message stands above",
            do="fix that, then run `make resume` again",
        )
    print("going on with: snakemake", *command, flush=True)
    if "--rerun-incomplete" not in command:
        command.insert(0, "--rerun-incomplete")
    os.execv(python, [python, "-m", "snakemake", *command])  # noqa: S606


def alive(folder: Path = RECORDS) -> int | None:
    """The pid of the run that is alive in this folder and on this machine, or None."""
    main = _read(folder / "main.json")
    ours = main and main["host"] == _host() and is_alive(_process(main))
    return int(main["pid"]) if main and ours else None


def tell_if_alive(folder: Path = RECORDS) -> None:
    """Say that another run is, or was, alive here, before Snakemake says that the folder is locked.

    Its own message advises `--unlock`, after which jobs that outlived a crash write on.
    """
    if pid := alive(folder):
        text = (
            f"a run is alive in this folder already (pid {pid}): until it has ended or is stopped"
        )
        print(f"note: {text}, another one can plan (-n), and no more", file=sys.stderr)
    elif any((folder.parent / "locks").glob("*")) and "--unlock" not in sys.argv:
        text = "note: the last run in this folder was killed and has left its lock"
        print(f"{text}\n  do:    {RESUME}", file=sys.stderr)


def last_command(folder: Path = RECORDS) -> tuple[list[str], Path] | None:
    """Arguments of the last run and where they were typed; None where that is not known."""
    main = _read(folder / "main.json") or {}
    if main.get("args") is None:
        return None
    return list(main["args"]), Path(main.get("launched_in") or ".")


def refuse_if_running(folder: Path = RECORDS, then: str = "resume") -> None:
    """See that no run is alive in this folder.

    Raises:
        UserError: one is, or it was on another machine and may be alive there.
    """
    if pid := alive(folder):
        raise UserError(
            f"a run is still alive here (pid {pid})",
            where=str(folder.resolve().parent.parent),
            why="two runs in one folder would write the same files",
            do=f"wait for it, or stop it (Ctrl-C, or kill -INT {pid}), then {then}",
        )
    main = _read(folder / "main.json") or {}
    if main and main["host"] != _host() and main.get("state") == "running":
        _refuse_from_here([folder / "main.json"], folder, then)


def refuse_if_alive(folder: Path = RECORDS, then: str = "resume") -> None:
    """See that no run, and on another machine no job, is alive in this folder.

    Raises:
        UserError: one is, or it cannot be told from here.
    """
    refuse_if_running(folder, then)
    away = []
    for path, note in _records(folder, "job"):
        if note["host"] == _host():
            continue
        if slurm.is_gone(note.get("slurm", "")):  # its node died, or it was killed
            path.unlink(missing_ok=True)
        else:
            away.append(path)
    if away:
        _refuse_from_here(away, folder, then)


def _refuse_from_here(away: list[Path], folder: Path, then: str) -> NoReturn:
    hosts = sorted({(_read(path) or {}).get("host", "?") for path in away})
    raise UserError(
        f"the run was on {', '.join(hosts)}; whether it is alive cannot be seen from here",
        where=str(folder.resolve()),
        why="a process can be checked and ended on its own machine only",
        do=f"{then} there; or, when nothing of it runs any more (on a cluster see "
        "`squeue --me`), delete " + ", ".join(path.name for path in away),
    )


def jobs_alive(folder: Path = RECORDS) -> dict[Process, str]:
    """The jobs that are alive on this machine, and their rules."""
    notes = [note for _, note in _records(folder, "job") if note["host"] == _host()]
    return {process: note.get("rule", "?") for note in notes if is_alive(process := _process(note))}


def end_orphans(
    folder: Path = RECORDS, run: str | None = None, grace_s: float = GRACE_S
) -> list[str]:
    """End the jobs on record and the processes with the run's mark; say what became of each.

    Jobs are asked first (SIGTERM; training saves its state) and have `grace_s` to end by
    themselves, with their workers untouched; then the workers; what is left is killed.
    """
    jobs = jobs_alive(folder)
    family = _family(jobs, run)
    _signal(jobs, signal.SIGTERM)
    stubborn = set(_wait(jobs, grace_s))
    lines = [
        f"killed {rule} (pid {job.pid}): it had not ended {grace_s:.0f} s after SIGTERM"
        if job in stubborn
        else f"ended {rule} (pid {job.pid}), left behind by the crash"
        for job, rule in jobs.items()
    ]
    family |= _family(jobs, run)  # what began while we waited
    workers = _wait(family - jobs.keys(), SETTLE_S)
    _signal(workers, signal.SIGTERM)
    left = _wait(workers, WORKERS_GRACE_S)
    _signal([*stubborn, *left], signal.SIGKILL)
    _wait([*stubborn, *left], WORKERS_GRACE_S)
    if workers:
        lines.append(f"ended {len(workers)} processes that those jobs or earlier ones had started")
    for path, note in _records(folder, "job"):
        if note["host"] == _host() and not is_alive(_process(note)):
            path.unlink(missing_ok=True)
    return lines


def _family(jobs: Iterable[Process], run: str | None) -> set[Process]:
    """The jobs, all that carries the run's mark, and all that descends from either; never us."""
    parents = parents_of_all()
    roots = {job.pid for job in jobs if is_alive(job)} | (marked(MARK, run) if run else set())
    pids = {pid for pid in parents if ancestors(pid, parents) & roots}
    pids -= ancestors(os.getpid(), parents)
    return {Process(pid, began) for pid in pids if (began := birth(pid))}


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        if is_alive(process):  # looked at again just before: pids are reused
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)


def _wait(processes: Iterable[Process], seconds: float) -> list[Process]:
    """Those that are still alive when the time is over; returns early when none is."""
    end = time.monotonic() + seconds
    left = [process for process in processes if is_alive(process)]
    while left and time.monotonic() < end:
        time.sleep(0.05)
        left = [process for process in left if is_alive(process)]
    return left
