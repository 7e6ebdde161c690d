"""An empty Debian in a folder, with what the README names, a user without sudo, and clones of HEAD.

    python tests/fresh/debian.py <empty folder>     # makes it and opens a shell of the user in it

Made by debootstrap from the mirror that apt uses here, with the settings that apt and pip have
here; no host is named in this file. What is not committed is not in the clones. Needs root.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USER = "guest"
HOMES = {"root": "/root", USER: f"/home/{USER}"}
# Of this machine's environment only how packages are reached.
HANDED_OVER = re.compile(
    r"(PIP|UV)_(.*INDEX.*|FIND_LINKS|CERT|CONSTRAINT|TRUSTED_HOST|PROXY|(DEFAULT|HTTP)_TIMEOUT)"
    r"|(https?|no|all)_proxy|SSL_CERT_FILE",
    re.IGNORECASE,
)
APT_SETTINGS = re.compile(r'Acquire::(Check-\S+|Retries|https?::(Proxy|CaInfo)\S*) ".+";')
# What a command runs in: mounts and a process tree of its own, so that nothing is left behind.
# Arguments: the folder, paths of this machine to be seen at the same place, those of chroot.
ENTER = """
mount -t proc proc "$0/proc"
for place in dev sys; do mount --rbind "/$place" "$0/$place"; done
for place in $1; do mount --bind "$place" "$0$place"; done
shift
exec chroot "$@"
"""


class NoDebian(Exception):
    """Why there can be no empty Debian here."""


@dataclass
class Done:
    """How a command ended and what it said."""

    status: int
    said: str


class Debian:
    """An empty Debian in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if HANDED_OVER.fullmatch(k)}
        self.pip = pip_settings()
        self.binds: list[str] = []  # paths of this machine that are seen in there

    def make(self, packages: list[str]) -> None:
        """The system, these packages and nothing that they only recommend, the user.

        Raises:
            NoDebian: it cannot be made here.
        """
        if (self.folder / "home" / USER).is_dir():  # a kept one
            self.show()
            return
        install_debootstrap()
        sources = debian_sources()
        mirror, suite, _ = sources[0]
        call("debootstrap", "--variant=minbase", suite, str(self.folder), mirror)
        apt = self.folder / "etc/apt"
        lines = [f"deb {uri} {release} {component}" for uri, release, component in sources]
        (apt / "sources.list").write_text("\n".join(lines) + "\n")
        dump = call("apt-config", "dump").splitlines()
        kept = [line for line in dump if APT_SETTINGS.fullmatch(line)]
        (apt / "apt.conf.d/90here").write_text("\n".join(kept) + "\n")
        for name in ("resolv.conf", "hosts"):
            shutil.copy(Path("/etc", name), self.folder / "etc" / name)
        rows = ["[global]", *(f"{name} = {value}" for name, value in self.pip.items())]
        (self.folder / "etc/pip.conf").write_text("\n".join(rows) + "\n")
        for command in (
            "apt-get -q update",
            f"apt-get -q -y install --no-install-recommends {' '.join(packages)}",
            f"useradd --create-home --shell /bin/bash {USER}",
        ):
            done = self.run("root", command, home="/")
            if done.status:
                raise NoDebian(f"{command}: {done.said[-500:]}")
        self.show()

    def show(self) -> None:
        """Let that be seen which the settings name; certificates only now, apt installs its own."""
        settings = [*self.environment.values(), *self.pip.values()]
        self.binds = sorted({path for text in settings for path in local_paths(text)})
        for path in map(Path, self.binds):
            place = self.folder / path.relative_to("/")
            if path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()

    def clone(self, user: str) -> None:
        """`git clone` of this repository's HEAD into the home of a user."""
        bundle = self.folder / "srv/etude.bundle"
        shutil.rmtree(self.folder / HOMES[user].lstrip("/") / "etude", ignore_errors=True)
        call("git", "-C", str(ROOT), "bundle", "create", "--quiet", str(bundle), "HEAD")
        done = self.run(user, "git clone --quiet /srv/etude.bundle etude", home=HOMES[user])
        if done.status:
            raise RuntimeError(done.said)

    def run(self, user: str, command: str, home: str = "", shell: bool = False) -> Done:
        """A command of a user, in the clone or in `home`, with an environment of its own."""
        path = "/usr/local/bin:/usr/bin:/bin"
        path = f"/usr/local/sbin:{path}:/usr/sbin:/sbin" if user == "root" else path
        environment = self.environment | {
            "HOME": HOMES[user], "USER": user, "PATH": path, "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
        }  # fmt: skip
        inside = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
        inside += ["bash", "-c", f"cd {home or HOMES[user] + '/etude'} && {command}"]
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER]
        words += [str(self.folder), " ".join(self.binds)]
        words += [f"--userspec={user}", str(self.folder), *inside]
        if shell:
            return Done(subprocess.run(words, check=False).returncode, "")
        done = subprocess.run(
            words, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Done(done.returncode, done.stdout)


# --------------------------------------------------------------- what this machine is set up with


def install_debootstrap() -> None:
    """Debian's package, where it is missing; on a person's machine only that is said.

    Raises:
        NoDebian: it is missing and stays so, or this is no root.
    """
    if os.geteuid():
        raise NoDebian("a Debian of one's own needs root")
    if shutil.which("debootstrap"):
        return
    if os.environ.get("CI", "").lower() != "true" or not shutil.which("apt-get"):
        raise NoDebian(
            "debootstrap is missing, and only CI installs it (apt-get install debootstrap)"
        )
    call("apt-get", "-q", "update")
    call("apt-get", "-q", "-y", "install", "--no-install-recommends", "debootstrap")


def debian_sources() -> list[tuple[str, str, str]]:
    """Where apt gets Debian here: (address, release, component), the plain release first.

    Raises:
        NoDebian: apt knows no Debian.
    """
    form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    said = call("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    rows = [line.split("|") for line in said.splitlines()]
    found = sorted({(row[1], row[2], row[3]) for row in rows if row[0] == "Debian"})
    found.sort(key=lambda source: "-" in source[1])  # bookworm, then bookworm-updates and so on
    if not found or "-" in found[0][1]:
        raise NoDebian("apt has no Debian here: neither mirror nor release is known")
    return found


def pip_settings() -> dict[str, str]:
    """What pip's files say here of how packages are reached; the environment is not asked."""
    python = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(python, capture_output=True, text=True, check=True)
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    named = {
        key.removeprefix("global."): " ".join(ast.literal_eval(value).split())
        for key, _, value in pairs
        if key.startswith("global.")
    }
    return {k: v for k, v in named.items() if HANDED_OVER.fullmatch(f"PIP_{k}".replace("-", "_"))}


def local_paths(setting: str) -> list[str]:
    """Files and folders of this machine that a setting names; of an index what lies beside it too."""
    paths = [
        Path(word.removeprefix("file://")).parent if word.startswith("file://") else Path(word)
        for word in setting.split()
        if word.startswith(("/", "file:///"))
    ]
    return [str(path) for path in paths if path.exists()]


def call(*command: str) -> str:
    """What a program prints.

    Raises:
        NoDebian: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDebian(f"{' '.join(command)}: {(done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from test_fresh import NEEDED

    debian = Debian(Path(sys.argv[1]))
    new = not debian.folder.exists()
    debian.make(NEEDED)
    if new:
        debian.clone(USER)
    sys.exit(debian.run(USER, "exec bash", shell=True).status)
