"""What a run has in a SLURM cluster, when the Snakemake that sent it there is dead.

Jobs are found by the prefix of their names (profiles/slurm: `slurm-jobname-prefix`) and by the
folder that they work in, so that neither another folder's run nor anything else is touched. Read
at parse time, so: standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path

from etude.errors import UserError

PREFIX = "etude"  # as in profiles/slurm/config.yaml
GONE_S = 120.0  # a cancelled job has KillWait (30 s by default) to save


def job_id() -> str:
    """The SLURM job that this process belongs to, or an empty string."""
    return os.environ.get("SLURM_JOB_ID", "")


def seconds_used() -> float:
    """How long the SLURM job of this process runs by SLURM's clock; 0 outside of one.

    The job's time limit counts from there, and two Snakemakes start before a script does.
    """
    if not (job := job_id()) or not shutil.which("squeue"):
        return 0.0
    try:
        began = datetime.fromisoformat(_squeue("-j", job, "-o", "%S")[0])
    except (UserError, ValueError, IndexError):
        return 0.0
    return max(0.0, (datetime.now() - began).total_seconds())  # noqa: DTZ005 squeue's is local time


def jobs_in(folder: Path) -> list[str]:
    """The ids of this person's jobs in the queue that an Étude run in `folder` has sent there.

    Raises:
        UserError: the controller does not answer.
    """
    if not shutil.which("squeue"):
        return []
    rows = [line.split("|", 2) for line in _squeue("--me", "-o", "%A|%Z|%j")]
    here = folder.resolve()
    return [
        job
        for job, place, name in rows
        if name.startswith(f"{PREFIX}_") and Path(place).resolve() == here
    ]


def is_gone(job: str) -> bool:
    """Whether a job is known to have ended; where that cannot be asked it is not known."""
    if not job or not shutil.which("squeue"):
        return False
    try:
        return job not in _squeue("--me", "-o", "%A")
    except UserError:
        return False


def cancel_jobs(folder: Path, wait_s: float = GONE_S) -> list[str]:
    """Cancel what the dead run of this folder has in the queue; say what became of it.

    Training saves its state when it is cancelled, so the jobs are waited for.

    Raises:
        UserError: they do not end, or the controller does not answer.
    """
    jobs = jobs_in(folder)
    if not jobs:
        return []
    subprocess.run(["scancel", *jobs], check=False)
    end = time.monotonic() + wait_s
    while left := jobs_in(folder):
        if time.monotonic() > end:
            raise UserError(
                f"jobs of the run do not end: {' '.join(left)}",
                code="jobs-do-not-end",
                where=str(folder.resolve()),
                why=f"they were cancelled {wait_s:.0f} s ago",
                do="wait until `squeue --me` shows them no more, then resume again",
            )
        time.sleep(0.5)
    return [f"cancelled SLURM job {job}, left behind by the crash" for job in jobs]


def _squeue(*options: str) -> list[str]:
    """Rows of jobs that wait, run or are being ended.

    Raises:
        UserError: the controller does not answer.
    """
    command = ["squeue", "-h", "--states=PD,R,CF,CG,S", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            "SLURM does not answer, so it is not known what of the run is alive",
            code="slurm-does-not-answer",
            where="squeue",
            why=done.stderr.strip() or f"exit status {done.returncode}",
            do="try again when `squeue --me` works",
        )
    return done.stdout.splitlines()
