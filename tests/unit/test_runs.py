"""After a crash of Snakemake: nothing of the run survives, nothing else is touched, it goes on."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from refused import refused

from etude import processes, runs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start():
    """Start Python processes that say when they are ready; none outlives the test."""
    started = []

    def start(code, **env):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **env},
        )
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("ready"), line
        process.said = line.split()[1:]
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


JOB = """
    import signal, sys, time
    from pathlib import Path
    from etude.runs import record
    {before}
    with record("train_stage", Path({folder!r})):
        print("ready", flush=True)
        time.sleep(60)
    """


def note(folder, process, **fields):
    """Write a record as a process of that pid would have written it."""
    began = runs.birth(process.pid)
    row = {"pid": process.pid, "birth": began, "host": runs._host(), "rule": "train_stage"}
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"job-{process.pid}.json").write_text(json.dumps({**row, **fields}))


def ended(process):
    return runs.birth(process.pid) is None


def test_record_is_there_while_the_job_runs(tmp_path):
    with runs.record("fit_codec", tmp_path / "records"):
        (path,) = (tmp_path / "records").iterdir()
        found = json.loads(path.read_text())
        assert (found["pid"], found["rule"]) == (os.getpid(), "fit_codec")
        assert found["birth"] == runs.birth(os.getpid())
    assert not list((tmp_path / "records").iterdir())


def test_record_that_cannot_be_written_stops_no_job(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with runs.record("fit_codec", tmp_path / "file" / "records"):
        pass
    assert "not on record" in capsys.readouterr().err


def test_orphan_is_ended_with_time_to_save(tmp_path, start):
    saved = tmp_path / "saved"
    before = (
        f"def save(*_): time.sleep(0.3); Path({str(saved)!r}).touch(); sys.exit(75)\n"
        "    signal.signal(signal.SIGTERM, save)"
    )
    job = start(JOB.format(folder=str(tmp_path / "records"), before=before))
    (line,) = runs.end_orphans(tmp_path / "records")
    assert line == f"ended train_stage (pid {job.pid}), left behind by the crash"
    assert ended(job)
    assert saved.exists()
    assert not list((tmp_path / "records").iterdir())


def test_orphan_that_ignores_sigterm_is_killed(tmp_path, start):
    before = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    job = start(JOB.format(folder=str(tmp_path / "records"), before=before))
    (line,) = runs.end_orphans(tmp_path / "records", grace_s=0.5)
    assert line.startswith(f"killed train_stage (pid {job.pid})")
    assert job.wait(5) == -signal.SIGKILL


def test_reused_pid_is_left_alone(tmp_path, start):
    other = start("import time; print('ready', flush=True); time.sleep(60)")
    note(tmp_path, other, birth="another start of the machine/42")
    assert runs.end_orphans(tmp_path) == []
    assert not ended(other)
    assert not list(tmp_path.iterdir()), "the stale record is cleared"


def test_workers_are_left_to_their_job_until_it_has_saved(tmp_path, start):
    """A worker that dies first would break the saving; one that outlives its job is ended."""
    job = start(
        f"""
        import signal, subprocess, sys, time
        from pathlib import Path
        from etude.runs import record
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        def save(*_):
            time.sleep(0.2)
            sys.exit(75 if worker.poll() is None else 1)
        signal.signal(signal.SIGTERM, save)
        with record("train_stage", Path({str(tmp_path)!r})):
            print("ready", worker.pid, flush=True)
            time.sleep(60)
        """
    )
    lines = runs.end_orphans(tmp_path)
    assert len(lines) == 2
    assert job.wait(5) == 75
    assert runs.birth(int(job.said[0])) is None


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc or psutil")
def test_pool_worker_without_its_job_is_found_by_the_mark(tmp_path, start):
    """The job was killed, its forked worker has pid 1 or the like for a parent and no record."""
    job = start(
        """
        import os, time
        worker = os.fork()
        if worker:
            print("ready", worker, flush=True)
        time.sleep(60)
        """,
        ETUDE_RUN="a1b2",
    )
    stranger = start("import time; print('ready', flush=True); time.sleep(60)", ETUDE_RUN="c3d4")
    job.kill()
    job.wait()
    worker = int(job.said[0])
    assert runs.birth(worker)
    assert runs.end_orphans(tmp_path, run="a1b2") != []
    assert runs.birth(worker) is None
    assert not ended(stranger)


def main_record(folder, **fields):
    folder.mkdir(exist_ok=True, parents=True)
    row = {"pid": 1 << 30, "birth": "none", "host": runs._host(), "state": "running", "args": None}
    (folder / "main.json").write_text(json.dumps({**row, **fields}))


def test_live_run_refuses_to_resume(tmp_path, start):
    main = start("import time; print('ready', flush=True); time.sleep(60)")
    job = start(JOB.format(folder=str(tmp_path), before=""))
    main_record(tmp_path, pid=main.pid, birth=runs.birth(main.pid))
    with refused("run-is-alive", main.pid):
        runs.resume(folder=tmp_path)
    assert not ended(main)
    assert not ended(job)


def test_a_lock_that_a_crash_left_names_what_ends_its_jobs(tmp_path, monkeypatch, capsys):
    folder = tmp_path / ".snakemake/etude"
    runs.tell_if_alive(folder)
    main_record(folder)
    runs.tell_if_alive(folder)
    assert capsys.readouterr().err == ""
    (tmp_path / ".snakemake/locks").mkdir()
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    runs.tell_if_alive(folder)
    assert "make resume" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["snakemake", "--unlock"])
    runs.tell_if_alive(folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["main", "job"])
def test_run_of_another_machine_is_not_judged_from_here(tmp_path, start, kind):
    if kind == "main":
        main_record(tmp_path, host="node7")
    else:
        main = start("import time; print('ready', flush=True); time.sleep(60)")
        note(tmp_path, main, host="node7")
    with refused("run-on-another-machine", "node7"):
        runs.resume(folder=tmp_path)


class Replaced(Exception):
    """Stands for execv, which does not come back."""


@pytest.fixture
def commands(monkeypatch):
    seen = []

    def execv(program, command):
        seen.append(command[3:])
        raise Replaced

    def run(command, check):
        seen.append(command[3:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(runs.os, "execv", execv)
    monkeypatch.setattr(runs.subprocess, "run", run)
    monkeypatch.setattr(runs.slurm, "cancel_jobs", lambda folder: [])
    return seen


@pytest.mark.parametrize(
    ("stored", "asked", "expected"),
    [
        (["--cores", "2", "results/fad.txt"], [], ["--cores", "2", "results/fad.txt"]),
        (["--cores", "2"], ["--cores", "1", "-k"], ["--cores", "1", "-k"]),
        (None, [], ["--cores", "all"]),
    ],
)
def test_resume_unlocks_and_repeats_the_command(tmp_path, commands, stored, asked, expected):
    main_record(tmp_path, args=stored, launched_in=str(tmp_path))
    here = Path.cwd()
    try:
        with pytest.raises(Replaced):
            runs.resume(asked, folder=tmp_path)
    finally:
        os.chdir(here)
    assert commands == [["--unlock", *expected], ["--rerun-incomplete", *expected]]


def test_main_record_keeps_the_command_and_marks_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/any/bin/snakemake", "--cores", "2"])
    monkeypatch.setenv(runs.MARK, "")
    runs.record_main(tmp_path)
    found = json.loads((tmp_path / "main.json").read_text())
    assert (found["args"], found["state"]) == (["--cores", "2"], "running")
    assert os.environ[runs.MARK] == found["run"]
    runs.forget_main(tmp_path)
    assert json.loads((tmp_path / "main.json").read_text())["state"] == "ended"


def test_jobs_of_a_run_do_not_pass_for_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["snakemake", "--mode", "remote"])
    runs.record_main(tmp_path)
    assert not list(tmp_path.iterdir())


def test_births_without_proc(monkeypatch, start):
    process = start("import time; print('ready', flush=True); time.sleep(60)")
    monkeypatch.setattr(processes, "_PROC", Path("no-such-folder"))
    assert runs.birth(process.pid)
    assert runs.birth(process.pid) == runs.birth(process.pid)
    assert processes.parents_of_all()[process.pid] == os.getpid()
    process.kill()
    time.sleep(0.2)
    assert runs.birth(process.pid) is None, "a zombie counts as gone"


# ------------------------------------------------------------------------- with the real Snakemake

SNAKEFILE = """
import sys
sys.path.insert(0, {root!r})
from etude.runs import forget_main, record_main

onstart: record_main()
onsuccess: forget_main()
onerror: forget_main()

rule all:
    input: "done.txt"

rule train:
    output: "done.txt"
    shell:
        "{python} job.py && touch {{output}}"
"""

LONG_JOB = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from etude.runs import record

with record("train"):
    again = Path("began").exists()
    Path("began").write_text(str(os.getpid()))
    time.sleep(0 if again else 60)
"""


@pytest.mark.workflow
def test_killed_snakemake_is_resumed(tmp_path):
    """kill -9 on Snakemake while a job runs; resume ends the job, unlocks and finishes the run."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    places = {"root": str(ROOT), "python": sys.executable}
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(**places))
    (tmp_path / "job.py").write_text(LONG_JOB.format(**places))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "done.txt"]
    main = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (tmp_path / "began").exists() and time.monotonic() < end:
        time.sleep(0.1)
    main.kill()
    main.wait()
    time.sleep(0.2)
    orphan = int((tmp_path / "began").read_text())
    assert runs.birth(orphan), "the job outlives its Snakemake"

    code = "from etude.runs import resume; resume()"
    again = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"ended train (pid {orphan})" in again.stdout
    assert "going on with: snakemake --cores 1 done.txt" in again.stdout
    assert runs.birth(orphan) is None
    assert (tmp_path / "done.txt").exists()
    assert json.loads((tmp_path / ".snakemake/etude/main.json").read_text())["state"] == "ended"
    assert [p.name for p in (tmp_path / ".snakemake/etude").iterdir()] == ["main.json"]


@pytest.mark.workflow
def test_after_ctrl_c_the_last_line_says_how_to_go_on(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    places = {"root": str(ROOT), "python": sys.executable}
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(**places))
    (tmp_path / "job.py").write_text(LONG_JOB.format(**places))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "done.txt"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind `nohup … &`
    main = subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    end = time.monotonic() + 300
    while not (tmp_path / "began").exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(main.pid, signal.SIGINT)  # as a terminal does
    _, said = main.communicate(timeout=300)
    assert main.returncode == 1
    assert said.splitlines()[-1] == runs.LAST_WORDS
    again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)  # noqa: PLW1510
    assert again.returncode == 0, again.stderr
    assert runs.LAST_WORDS not in again.stderr
