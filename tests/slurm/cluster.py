"""A real SLURM on this machine: a controller, two CPU nodes and one with a fake GPU, a CPU each.

    python tests/slurm/cluster.py start | stop | kill c1 | revive c1

Debian's slurmd takes its node's name on the command line, so several nodes run on one host. All
listens on 127.0.0.1; files lie in one private folder, except the two links in /etc/slurm that job
steps need (they drop SLURM_CONF from their environment). Needs root.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from etude.runs import birth

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
SITE = Path("/etc/slurm")  # compiled into Debian's packages
PORT = 17917
NODES = ("c1", "c2", "g1")
MEMORY_MB = 16000  # what the rules ask for at the most; more than the machine may have

# Nothing here needs cgroups, systemd or a database. The times are short, for tests: a node counts
# as dead 15 s after it fell silent, a job that ignores SIGTERM is killed 5 s later.
CONFIG = """
ClusterName=etude
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
{listen}
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=0,batch_sched_delay=1
EnforcePartLimits=ALL
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=15
KillWait=5
MinJobAge=7200
JobRequeue=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
{nodes}
PartitionName=cpu Nodes=c1,c2 Default=YES MaxTime=2-00:00:00 State=UP
PartitionName=gpu Nodes=g1 MaxTime=2-00:00:00 State=UP
"""


class NoCluster(Exception):
    """Why there can be no cluster here."""


class Cluster:
    """The daemons, by the pid files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seconds = folder, 0.0

    # ------------------------------------------------------------------------- start and stop

    def start(self) -> float:
        """Install what is missing, write the configuration, start all -> seconds it took.

        Raises:
            NoCluster: not here (no root, no packages, a cluster's own machine).
        """
        install()
        if not self._alive("slurmctld") and "slurmctld" in {
            process.info["name"] for process in processes()
        }:
            raise NoCluster("a SLURM runs on this machine already")
        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir(exist_ok=True)
        self._configure()
        if not self._alive("munged"):
            self._start_munge()
        if not self._alive("slurmctld"):
            call("slurmctld")
        wait(30, "the controller", lambda: "UP" in call("scontrol", "ping", check=False))
        for node in NODES:
            self.revive(node)
        wait(60, "the nodes", lambda: self.idle() == set(NODES))
        self.seconds = time.monotonic() - began
        return self.seconds

    def stop(self) -> None:
        """End the jobs, then the daemons; the links go, and the folder."""
        if self._alive("slurmctld"):
            call("scancel", "--me", check=False)
            wait(20, "jobs to end", lambda: not queue("--states=R,CG"), fail=False)
        for name in (*NODES, "slurmctld", "munged"):
            self._end(name)
        for link in map(SITE.joinpath, ("slurm.conf", "gres.conf")):
            if link.is_symlink() and self.folder in link.readlink().parents:
                link.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configure(self) -> None:
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={PORT + 10 + i} CPUs=1 "
            f"RealMemory={MEMORY_MB}" + " Gres=gpu:fake:1" * (name == "g1") + " State=UNKNOWN"
            for i, name in enumerate(NODES)
        ]
        # SLURM listens on 127.0.0.1 alone only where the machine's own name leads there.
        try:
            loops = socket.gethostbyname(host).startswith("127.")
        except OSError:
            loops = False
        listen = "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny" if loops else ""
        files = {
            "slurm.conf": CONFIG.format(
                host=host, port=PORT, folder=self.folder, listen=listen, nodes="\n".join(nodes)
            ),
            # slurmd only looks whether there is such a device.
            "gres.conf": "NodeName=g1 Name=gpu Type=fake File=/dev/null\n",
        }
        SITE.mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / name).write_text(text)
            link = SITE / name
            link.unlink(missing_ok=True)  # of a cluster that was not stopped
            link.symlink_to(self.folder / name)

    def _start_munge(self) -> None:
        key, socket_ = self.folder / "munge.key", self.folder / "munge.sock"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {"key-file": key, "socket": socket_, "pid-file": self._pid_file("munged")}
        files |= {"log-file": self.folder / "munged.log", "seed-file": self.folder / "munge.seed"}
        call("munged", "--force", *(f"--{name}={path}" for name, path in files.items()))
        wait(10, "munged", socket_.exists)

    # ------------------------------------------------------------------------------- one node

    def revive(self, node: str) -> None:
        """Start the daemon of a node."""
        if not self._alive(node):
            call("slurmd", "-N", node)

    def kill(self, node: str) -> None:
        """A crash: the node's daemon, its step daemons and all its jobs vanish at once."""
        victims = {int(self._pid_file(node).read_text())}
        for process in processes():
            try:
                if process.environ().get("SLURMD_NODENAME") != node:
                    continue
                victims.add(process.pid)
                victims |= {p.pid for p in process.parents() if p.name() == "slurmstepd"}
            except psutil.Error:
                continue
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._pid_file(node).unlink()

    def idle(self) -> set[str]:
        """The nodes that wait for work."""
        return set(call("sinfo", "-h", "-N", "-t", "idle", "-o", "%N", check=False).split())

    # --------------------------------------------------------------------------------- inside

    def _pid_file(self, name: str) -> Path:
        return self.folder / f"{name}.pid"

    def _alive(self, name: str) -> bool:
        try:
            return birth(int(self._pid_file(name).read_text())) is not None
        except (OSError, ValueError):
            return False

    def _end(self, name: str) -> None:
        if self._alive(name):
            os.kill(int(self._pid_file(name).read_text()), signal.SIGTERM)
            wait(20, f"the end of {name}", lambda: not self._alive(name), fail=False)


def install() -> None:
    """Debian's packages, where they are missing; on a person's machine only that is said.

    Raises:
        NoCluster: they are missing and stay so, or this machine belongs to a cluster.
    """
    if os.geteuid():
        raise NoCluster("a SLURM of one's own needs root")
    site = SITE / "slurm.conf"
    if site.exists() and not site.is_symlink():
        raise NoCluster(f"this machine has a SLURM already ({site})")
    if all(map(shutil.which, PROGRAMS)):
        return
    if os.environ.get("CI", "").lower() != "true" or not shutil.which("apt-get"):
        needed = f"apt-get install --no-install-recommends {' '.join(PACKAGES)}"
        raise NoCluster(f"SLURM is not installed, and only CI installs it unasked ({needed})")
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            [*apt, *words], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode and words[0] == "install":
            raise NoCluster("apt-get install failed: " + done.stderr.strip()[-300:])


def processes() -> list[psutil.Process]:
    """All that are alive."""
    return [p for p in psutil.process_iter(["name", "status"]) if p.info["status"] != "zombie"]


def queue(*options: str, form: str = "%i|%T|%P|%N|%k") -> list[list[str]]:
    """Jobs as squeue shows them, ended ones included where a state asks for them."""
    lines = call("squeue", "-h", *options, "-o", form).splitlines()
    return [line.split("|") for line in lines]


def call(*command: str, check: bool = True) -> str:
    """What a program prints; with `check`, it must succeed.

    Its output goes through a file: daemons keep a pipe open for good.
    """
    with open(os.memfd_create("out"), "w+", encoding="utf-8") as out:  # noqa: PTH123
        done = subprocess.run(command, stdout=out, stderr=out, check=False)
        out.seek(0)
        said = out.read()
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {said}")
    return said


def wait(seconds: float, what: str, true: Callable[[], object], fail: bool = True) -> None:
    """Until something is true."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            if fail:
                raise TimeoutError(f"waited {seconds:.0f} s for {what}")
            return
        time.sleep(0.1)


if __name__ == "__main__":
    cluster = Cluster(Path(tempfile.gettempdir(), "etude-slurm"))
    what, *names = sys.argv[1:] or ["start"]
    if what == "start":
        print(f"up after {cluster.start():.1f} s")
    else:
        getattr(cluster, what)(*names)
