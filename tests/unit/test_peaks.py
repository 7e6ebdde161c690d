"""The memory column of docs/benchmarks.md: a process is charged with its own memory alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MB = 2**20
HELD = 250  # MB, that the starter has

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

STARTER = f"""
import subprocess, sys
held = bytearray({HELD * MB})
held[::4096] = b"x" * len(held[::4096])
print(subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, text=True).stdout)
"""
OF_ITS_OWN = """
import json, resource
from benchmarks.peaks import largest_mb, own_mb, reset_peak
begun = own_mb()
taken = bytearray(60 * 2**20)
taken[::4096] = b"x" * len(taken[::4096])
most = own_mb()
del taken
reset_peak()
after = own_mb()
rusage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([begun, most, after, largest_mb(), rusage]))
"""
FORKED = """
import json, os
from benchmarks.peaks import largest_mb, own_mb
if not (child := os.fork()):
    taken = bytearray(60 * 2**20)
    taken[::4096] = b"x" * len(taken[::4096])
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps([own_mb(), largest_mb()]))
"""


def run(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_what_the_starter_held_does_not_count():
    begun, most, after, largest, rusage = run(STARTER, OF_ITS_OWN)
    assert rusage >= HELD, "the figure that would be wrong"
    assert begun < 60
    assert 60 <= most < HELD
    assert after < begun + 30, "set back"
    assert largest < HELD


def test_workers_count():
    own, largest = run(FORKED)
    assert own < 60 <= largest
