"""The studio under load: fifty visitors with two requests each, one worker; and its page.

    python benchmarks/bench_studio.py [VISITORS] [--from FOLDER] [--real]

How the turns were shared, what the server and its worker take in memory early and at the end, how
long a request for the state took meanwhile, how large the page is and how soon it is ready in one
tab and in ten (all with a toy behind the worker, or with --real the model itself); and what a warm
worker saves: the second request's time beside the first one's and the command line's for the same
clip.
"""

import argparse
import concurrent.futures
import contextlib
import gzip
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from browser import launched
from record import record, table
from studio import ask, ended, server, write_export

from etude.studio.app import STATIC
from etude.studio.arguments import MODELS

LIMITS = "studio: {queue: 1000, address_hourly: 10000, connections: 200}\n"
EARLY = 10  # requests that are made before memory is taken as it is early


def visit(address, requests=2):
    """A visitor, and the ids of her requests."""
    client = httpx.Client(base_url=address, headers={"Origin": address}, timeout=30)
    client.get("/")
    return client, [ask(client, seed=7).json()["id"] for _ in range(requests)]


def load(visitors, folder, exports=None):
    """Order of service, memory [MB] early and late, seconds of requests for the state."""
    if exports is None:
        write_export(folder / "exports/notes")
    limits = folder / "limits.yaml"
    limits.write_text(LIMITS)
    where = (folder / "data", exports or folder / "exports", "--configfile", str(limits))
    with server(*where, toy=exports is None) as (address, process):
        memory, seconds, ends = [], [], {}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            people = list(pool.map(visit, [address] * visitors))
        while len(ends) < 2 * visitors:
            for number, (client, jobs) in enumerate(people):
                began = time.perf_counter()
                rows = client.get("/api/jobs").json()
                seconds.append(time.perf_counter() - began)
                ends |= {row["id"]: number for row in rows if row["state"] == "done"}
                assert len(rows) == len(jobs)
                time.sleep(0.02)  # as browsers, who are told, would ask less often
            if len(ends) >= EARLY:
                memory.append(megabytes(process))
        owner = {job: number for number, (_, jobs) in enumerate(people) for job in jobs}
        order = [owner[job] for job in _order(folder / "data")]
        return order, (memory[0], memory[-1]), sorted(seconds)


def megabytes(process):
    """Of the server, and of its workers."""
    found = psutil.Process(process.pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        workers = sum(child.memory_info().rss for child in found.children(recursive=True))
    return found.memory_info().rss / 1e6, workers / 1e6


def _order(data):
    """Jobs in the order in which they were started."""
    with sqlite3.connect(data / "studio.sqlite") as sql:
        return [row[0] for row in sql.execute("SELECT id FROM jobs ORDER BY started")]


def page(folder, tabs=10):
    """The page's bytes, packed; seconds until it is ready: alone, and each of ten tabs."""
    write_export(folder / "page/notes")
    packed = sum(len(gzip.compress(file.read_bytes())) for file in STATIC.iterdir())
    with server(folder / "page-data", folder / "page") as (address, _), launched() as browser:
        return packed, *([ready(browser, address, n) for n in (1, 1, tabs)])[1:]


def ready(browser, address, tabs):
    """Seconds from the address to the page that can be used, the slowest of so many tabs."""
    context = browser.new_context()
    seconds = []
    for _ in range(tabs):
        tab = context.new_page()
        began = time.perf_counter()
        tab.goto(address)
        tab.locator("body[data-ready]").wait_for()
        seconds.append(time.perf_counter() - began)
    context.close()
    return max(seconds)


def warm(exports):
    """Seconds of the command line, of a first and of a second request, for the same clip."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "etude", "generate", "--from", str(one_of(exports))]
        command += ["--duration", "4", "--batch_size", "1", "--output", f"{folder}/a"]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        cold = time.perf_counter() - began
        with server(Path(folder, "data"), exports, toy=False) as (address, _):
            client, _ = visit(address, 0)
            model = client.get("/api/me").json()["models"][0]["id"]
            times = []
            for _ in range(2):
                began = time.perf_counter()
                body = {"model": model, "seconds": 4.0, "seed": 0}
                ended(client, client.post("/api/jobs", json=body).json()["id"], 300)
                times.append(time.perf_counter() - began)
    return cold, *times


def one_of(exports):
    """The folder of one export: this, or the first inside."""
    return exports if Path(exports, "export.json").is_file() else next(Path(exports).glob("*/"))


def measured(visitors, folder, exports, toy):
    """Rows of the table, and what is asserted of them."""
    packed, one, ten = page(folder)
    cold, first, second = warm(exports)
    order, (early, late), seconds = load(visitors, folder, None if toy else exports)
    slow, middle = seconds[int(len(seconds) * 0.99)], statistics.median(seconds)
    served = len(set(order[:visitors]))
    rows = [
        ("page, gzipped", f"{packed / 1000:.0f} kB"),
        ("page ready: one tab / the slowest of ten", f"{one:.2f} s / {ten:.2f} s"),
        (f"different visitors among the first {visitors} of {len(order)} requests", served),
        (
            f"server, worker after {EARLY} requests and after all",
            ", ".join(f"{a:.0f} -> {b:.0f} MB" for a, b in zip(early, late, strict=True)),
        ),
        (
            "state of one's requests meanwhile",
            f"{1000 * middle:.0f} ms, 99 %: {1000 * slow:.0f} ms",
        ),
        ("a clip of 4 s, command line", f"{cold:.1f} s"),
        ("the same, first request (opens the model)", f"{first:.1f} s"),
        ("the same, second request", f"{second:.1f} s ({cold / second:.1f} times faster)"),
    ]
    return rows, (packed, one, served, early, late, middle, cold / second)


@pytest.mark.proof
def test_fifty_visitors_are_served_in_turns(tmp_path):
    rows, found = measured(50, tmp_path, MODELS, toy=True)
    packed, one, served, early, late, middle, ratio = found
    text = "Fifty visitors with two requests each at one worker with a toy; the clip by models/."
    lines = [text, "", *table(["", ""], rows)]
    record("The studio", "pytest benchmarks/bench_studio.py -m proof", lines)
    assert packed < 60_000
    assert one < 1
    # The first may have their second turn while others still come in through the door.
    assert served >= 48
    for before, after in zip(early, late, strict=True):
        assert after < before * 1.2 + 10
    assert middle < 0.5
    assert ratio > 2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("visitors", nargs="?", type=int, default=50)
    parser.add_argument("--from", dest="exports", default=MODELS, help="exports (models/)")
    parser.add_argument("--real", action="store_true", help="no toy: all requests by this model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, _ = measured(options.visitors, Path(folder), options.exports, not options.real)
    for what, value in rows:
        print(f"{what}: {value}")


if __name__ == "__main__":
    main()
