"""Through a real SLURM, hurt on the way: the same bytes as on one machine."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from slurm.cluster import call, queue, wait
from slurm.runs import GPU_RULES, SlurmRun, jobs_of, locally, partitions_by_rule, pause
from workspace import Workspace

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The bytes of a run without SLURM and without injuries, and its seconds."""
    workspace = Workspace(tmp_path_factory.mktemp("local"))
    seconds = locally(workspace)
    return workspace.results(), seconds


@pytest.fixture
def through_slurm(cluster, tmp_path):
    """Starts runs whose jobs go through the cluster; nothing of them is left behind."""
    begun = []

    def start(*options: str) -> SlurmRun:
        begun.append(SlurmRun(Workspace(tmp_path), *options))
        return begun[-1]

    yield start
    for run in begun:
        run.end()
    call("scancel", "--me", check=False)
    wait(60, "an empty queue", lambda: not queue("--states=PD,R,CG"), fail=False)


def same_bytes(run: SlurmRun, results: dict[str, bytes]) -> None:
    made = run.workspace.results()
    assert made.keys() == results.keys()
    assert [name for name in results if made[name] != results[name]] == []


@pytest.mark.proof
def test_a_cancelled_job_and_a_dead_head_change_nothing(local, through_slurm):
    run = through_slurm()
    subprocess.run(["scancel", run.training("semantic")], check=True)
    run.until("a second try", lambda: len(tries(run, "semantic")) == 2)
    run.until("a job to leave behind", lambda: queue("--states=R"))
    run.end()
    assert queue("--states=R"), "the jobs outlive the head"
    run.start("etude", "resume")
    assert "cancelled SLURM job" in run.finish()
    assert tries(run, "semantic")[0] == "CANCELLED"
    same_bytes(run, local[0])
    went_on(run, "semantic")
    where = partitions_by_rule()
    assert where.keys() >= GPU_RULES
    for rule, partitions in where.items():
        assert partitions.keys() == ({"gpu"} if rule in GPU_RULES else {"cpu"}), rule
    gpus = call("scontrol", "show", "job", jobs_of("train_stage")[0][0])
    assert "gres:gpu" in gpus or "gres/gpu" in gpus


@pytest.mark.proof
def test_an_unhurt_run_and_what_a_job_costs(local, through_slurm):
    run, began = through_slurm(), time.monotonic()
    run.finish()
    seconds = time.monotonic() - began
    same_bytes(run, local[0])
    write_costs(
        local[1], seconds, len(list(run.workspace.folder.glob("results/logs/slurm/**/*.log")))
    )


@pytest.mark.proof
def test_a_deadline_is_met_and_the_retry_goes_on(local, through_slurm):
    """90 % of the job's time are over before it is done: it saves, ends, and is sent again."""
    run = through_slurm("--set-resources", "train_stage:runtime=2")
    run.training("semantic")
    pause(run.process("train_stage"), 105)
    run.finish()
    assert tries(run, "semantic") == ["FAILED", "COMPLETED"]
    same_bytes(run, local[0])
    went_on(run, "semantic")


@pytest.mark.proof
def test_a_time_limit_is_survived(local, through_slurm):
    """A job that does not even save when it is told to: SLURM ends it, the retry goes on."""
    run = through_slurm("--set-resources", "train_stage:runtime=1")
    run.training("semantic")
    run.process("train_stage").send_signal(signal.SIGSTOP)
    run.finish()
    assert tries(run, "semantic") == ["TIMEOUT", "COMPLETED"]
    same_bytes(run, local[0])
    went_on(run, "semantic")


@pytest.mark.proof
def test_a_dead_node_is_survived(local, cluster, through_slurm):
    run = through_slurm()
    run.training("semantic")
    cluster.kill("g1")
    run.until("that the node is missed", lambda: "NODE_FAIL" in tries(run, "semantic"))
    cluster.revive("g1")
    run.finish()
    assert tries(run, "semantic") == ["NODE_FAIL", "COMPLETED"]
    same_bytes(run, local[0])
    went_on(run, "semantic")


# ------------------------------------------------------------------------------------- reading


def tries(run: SlurmRun, stage: str) -> list[str]:
    """The states of the SLURM jobs that trained a stage of this run, the first one first."""
    logs = run.workspace.folder / "results/logs/slurm/rule_train_stage" / f"mine_{stage}_0"
    ours = {path.stem for path in logs.glob("*.log")}
    rows = sorted(jobs_of("train_stage"), key=lambda row: int(row[0]))
    return [row[1] for row in rows if stage in row[4] and (row[0] in ours or row[1] == "PENDING")]


def went_on(run: SlurmRun, stage: str) -> None:
    """The last try of a training began where the one before had saved."""
    log = run.workspace.text(f"results/logs/train_stage/mine/{stage}/seed-0.log")
    assert "going on from step" in log, log


def write_costs(local: float, seconds: float, jobs: int) -> None:
    """The section of docs/benchmarks.md."""
    from record import record, table

    rows = [["on this machine, --cores 1", f"{local:.0f}", ""]]
    rows += [["through SLURM", f"{seconds:.0f}", f"{(seconds - local) / jobs:.1f}"]]
    lines = [
        (
            f"Eight pieces, few steps, {jobs} SLURM jobs on three nodes of one CPU on one machine. "
            "What a job costs is its share of the difference: two starts of Snakemake, and the "
            "wait for the next look at the queue."
        ),
        "",
        *table(["", "seconds", "more, a job"], rows),
    ]
    record("SLURM", "pytest tests/slurm -m proof", lines)
