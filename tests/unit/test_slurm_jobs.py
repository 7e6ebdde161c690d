"""Which SLURM jobs count as those of a dead run; with a squeue of our own (tests/slurm has a real one)."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime, timedelta

import pytest
from refused import refused

from etude import runs, slurm
from etude.errors import UserError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """`squeue` prints the rows of a file, or fails where there is none; `scancel` empties it."""
    rows = tmp_path / "rows"
    squeue = f"""#!/bin/sh
        for word; do form=$word; done
        [ -e {rows} ] || {{ echo "Unable to contact slurm controller" >&2; exit 1; }}
        [ "$form" = %A ] && cut -d'|' -f1 {rows} || cat {rows}
        """
    scancel = f'#!/bin/sh\necho "$@" >> {tmp_path}/cancelled\n: > {rows}\n'
    for name, text in (("squeue", squeue), ("scancel", scancel)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return rows


def test_only_this_folders_runs_are_cancelled(site, tmp_path):
    here, other = tmp_path / "mine", tmp_path / "other"
    here.mkdir()
    site.write_text(
        f"1|{here}|etude_61ae-b\n2|{other}|etude_77\n3|{here}|bash\n4|{here}/.|etude_9\n"
    )
    said = slurm.cancel_jobs(here)
    assert (tmp_path / "cancelled").read_text() == "1 4\n"
    assert [line.split(",")[0] for line in said] == [
        "cancelled SLURM job 1",
        "cancelled SLURM job 4",
    ]


def test_jobs_that_do_not_end_are_named(site, tmp_path):
    site.write_text(f"7|{tmp_path}|etude_1\n")
    (tmp_path / "bin" / "scancel").write_text("#!/bin/sh\n")
    with refused("jobs-do-not-end", 7):
        slurm.cancel_jobs(tmp_path, wait_s=0.1)


def test_a_controller_that_does_not_answer_is_no_empty_queue(site, tmp_path):
    with refused("slurm-does-not-answer"):
        slurm.cancel_jobs(tmp_path)
    assert not slurm.is_gone("7")


def test_without_slurm_there_is_nothing_to_cancel(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.cancel_jobs(tmp_path) == []
    assert not slurm.is_gone("7")


@pytest.mark.parametrize(
    ("queue", "job", "alive"), [("8\n", "7", False), ("7\n", "7", True), ("8\n", "", True)]
)
def test_a_job_of_another_machine_counts_as_gone_when_slurm_says_so(
    site, tmp_path, queue, job, alive
):
    site.write_text(queue)
    note = {"pid": 1, "birth": "x", "host": "node7", "rule": "train_stage", "slurm": job}
    path = tmp_path / "job-node7-1.json"
    path.write_text(json.dumps(note))
    if alive:
        with refused("run-on-another-machine", "node7"):
            runs.refuse_if_alive(tmp_path)
    else:
        runs.refuse_if_alive(tmp_path)
    assert path.exists() == alive


def test_a_run_of_this_machine_does_not_ask_slurm(site, tmp_path, monkeypatch):
    """A SLURM that does not answer, as on a laptop with its clients, keeps no local run back."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".snakemake/etude"
    folder.mkdir(parents=True)
    note = {"pid": 1 << 30, "birth": "x", "host": runs._host(), "state": "running"}
    for remote in (False, True):
        (folder / "main.json").write_text(json.dumps(note | {"remote": remote}))
        monkeypatch.setattr(runs, "end_orphans", lambda *_, **__: pytest.fail("reached"))
        with pytest.raises(UserError if remote else pytest.fail.Exception):
            runs.resume(folder=folder)


def test_a_head_on_another_machine_is_refused_before_anything_is_cancelled(site, tmp_path):
    folder = tmp_path / ".snakemake/etude"
    folder.mkdir(parents=True)
    site.write_text(f"7|{tmp_path}|etude_1\n")
    note = {
        "pid": 1,
        "birth": "x",
        "host": "login2",
        "state": "running",
        "args": [],
        "remote": True,
    }
    (folder / "main.json").write_text(json.dumps(note))
    with refused("run-on-another-machine", "login2"):
        runs.resume(folder=folder)
    assert not (tmp_path / "cancelled").exists()


@pytest.mark.parametrize(
    ("began", "used"), [("-90", 90), ("N/A", 0), (None, 0)], ids=["running", "unknown", "silent"]
)
def test_a_jobs_time_counts_from_its_own_start(began, used, site, monkeypatch):
    assert slurm.seconds_used() == 0, "no job of SLURM's"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    if began == "-90":
        began = (datetime.now() - timedelta(seconds=90)).isoformat(timespec="seconds")  # noqa: DTZ005
    if began:
        site.write_text(began + "\n")
    assert slurm.seconds_used() == pytest.approx(used, abs=5)
