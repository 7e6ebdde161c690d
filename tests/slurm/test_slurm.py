"""Through a real SLURM, hurt on the way: the same bytes as on one machine."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from slurm.cluster import call, queue, wait
from slurm.runs import (
    CLIPS,
    GPU_RULES,
    Costs,
    SlurmRun,
    job_costs,
    jobs_of,
    locally,
    partitions_by_rule,
    pause,
    seconds_of_rules,
)  # fmt: skip
from workspace import Workspace

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A run without SLURM and without injuries: bytes, its seconds, those of its rules."""
    workspace = Workspace(tmp_path_factory.mktemp("local"))
    seconds = locally(workspace)
    return workspace.results(), seconds, seconds_of_rules(workspace.folder)[1]


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


def same_bytes(run: SlurmRun, results: dict[str, bytes], whole: bool = True) -> None:
    """The results are those of the local run: all of them, or all that was asked for."""
    made = run.workspace.results()
    assert made.keys() == results.keys() if whole else made.keys() <= results.keys()
    assert {name for name in results if name.startswith(CLIPS)} <= made.keys()
    assert [name for name in made if made[name] != results[name]] == []


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
def test_an_unhurt_run_and_what_a_job_costs(local, cluster, through_slurm):
    run, began = through_slurm(), time.monotonic()
    run.finish()
    seconds = time.monotonic() - began
    same_bytes(run, local[0])
    costs = job_costs(run.workspace.folder)
    write_costs(local[1:], seconds, costs, cluster.seconds)
    assert costs.overhead < 15


@pytest.mark.proof
def test_a_deadline_is_met_and_the_retry_goes_on(local, through_slurm):
    """90 % of the job's time are over before it is done: it saves, ends, and is sent again."""
    minutes = 4
    run = through_slurm(CLIPS, "--set-resources", f"train_stage:runtime={minutes}")
    job = run.training("semantic")
    pause(run.process("train_stage"), job, 0.9 * 60 * minutes)
    run.finish()
    assert tries(run, "semantic") == ["FAILED", "COMPLETED"]
    same_bytes(run, local[0], whole=False)
    went_on(run, "semantic")


@pytest.mark.proof
def test_a_time_limit_is_survived(local, through_slurm):
    """A job that does not even save when it is told to: SLURM ends it, the retry goes on."""
    run = through_slurm(CLIPS, "--set-resources", "train_stage:runtime=1")
    run.training("semantic")
    run.process("train_stage").send_signal(signal.SIGSTOP)
    run.finish()
    assert tries(run, "semantic") == ["TIMEOUT", "COMPLETED"]
    same_bytes(run, local[0], whole=False)
    went_on(run, "semantic")


@pytest.mark.proof
def test_a_dead_node_is_survived(local, cluster, through_slurm):
    run = through_slurm(CLIPS)
    run.training("semantic")
    cluster.kill("g1")
    run.until("that the node is missed", lambda: "NODE_FAIL" in tries(run, "semantic"))
    cluster.revive("g1")
    run.finish()
    assert tries(run, "semantic") == ["NODE_FAIL", "COMPLETED"]
    same_bytes(run, local[0], whole=False)
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


def write_costs(local: tuple[float, float], seconds: float, costs: Costs, start: float) -> None:
    """The section of docs/benchmarks.md."""
    from record import record, table

    rows = [
        ["on this machine, `--cores 1`", *(f"{s:.0f}" for s in local),
         f"{(local[0] - local[1]) / costs.rules:.1f}", ""],
        ["through SLURM", f"{seconds:.0f}", f"{costs.own:.0f}", f"{costs.overhead:.1f}",
         f"{costs.waited / costs.jobs:.1f}"],
    ]  # fmt: skip
    lines = [
        (
            f"Eight pieces, few steps: {costs.rules} jobs of rules in {costs.jobs} SLURM jobs, on "
            f"three nodes of one CPU each, all on this machine. The cluster was up after {start:.1f} "
            "s. What a job costs beside its rules: here a start of Python; in SLURM three of them, "
            "for Snakemake plans the job twice more. The whole run also waits for the next look at "
            "the queue (10 s and more between looks)."
        ),
        "",
        *table(["", "whole run, s", "in rules, s", "a job costs, s", "waits for a CPU, s"], rows),
    ]
    record("SLURM", "pytest tests/slurm -m proof", lines)
