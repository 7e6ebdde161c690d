"""The studio under load: fifty visitors with two requests each, one worker with a toy.

    python benchmarks/bench_studio.py [VISITORS]

Prints how the turns were shared, how much memory the server took before and after, how long a
request for the state took meanwhile, and what a warm worker saves: the second request's time
beside the first one's. With --from FOLDER the models of an export are warm and cold instead, beside
the command line's time for the same clip.
"""

import argparse
import concurrent.futures
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from studio import ask, ended, server, write_export


def visit(address, requests=2):
    """A visitor, and the ids of her requests."""
    client = httpx.Client(base_url=address, headers={"Origin": address}, timeout=30)
    client.get("/")
    return client, [ask(client, seed=7).json()["id"] for _ in range(requests)]


def load(visitors, folder):
    """What was seen: order of service, memory [MB], seconds of requests."""
    write_export(folder / "exports/notes")
    limits = folder / "limits.yaml"
    limits.write_text("studio: {queue: 1000, address_hourly: 10000, connections: 200}\n")
    more = ("--configfile", str(limits))
    with server(folder / "data", folder / "exports", *more) as (address, process):
        memory = psutil.Process(process.pid).memory_info
        before = memory().rss / 1e6
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            people = list(pool.map(visit, [address] * visitors))
        seconds, ends = [], {}
        while len(ends) < 2 * visitors:
            for number, (client, jobs) in enumerate(people):
                began = time.perf_counter()
                rows = client.get("/api/jobs").json()
                seconds.append(time.perf_counter() - began)
                for row in rows:
                    if row["state"] == "done" and row["id"] not in ends:
                        ends[row["id"]] = number
                assert len(rows) == len(jobs)
        order = _order(folder / "data")
        owner = {job: number for number, (_, jobs) in enumerate(people) for job in jobs}
        return [owner[job] for job in order], (before, memory().rss / 1e6), sorted(seconds)


def _order(data):
    """Jobs in the order in which they were started."""
    import sqlite3

    with sqlite3.connect(data / "studio.sqlite") as sql:
        return [row[0] for row in sql.execute("SELECT id FROM jobs ORDER BY started")]


@pytest.mark.proof
def test_fifty_visitors_are_served_in_turns(tmp_path):
    order, (before, after), seconds = load(50, tmp_path)
    # The first may have their second turn while others still come in through the door.
    late = sum(order.count(number) for number in set(order[:50]))
    assert len(order) == 100
    assert len(set(order[:55])) == 50, late
    assert after < before * 1.5 + 30
    assert seconds[len(seconds) // 2] < 0.5


def warm(exports):
    """Seconds of the command line, of a first and of a second request, for the same clip."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "etude", "generate", "--from", exports]
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("visitors", nargs="?", type=int, default=50)
    parser.add_argument("--from", dest="exports")
    options = parser.parse_args()
    if options.exports:
        cold, first, second = warm(options.exports)
        print(f"command line {cold:.1f} s, first request {first:.1f} s, second {second:.1f} s")
        print(f"the command line takes {cold / second:.1f} times the second request")
        return
    with tempfile.TemporaryDirectory() as folder:
        order, memory, seconds = load(options.visitors, Path(folder))
    first = len(set(order[: options.visitors]))
    print(f"{first} different visitors among the first {options.visitors} of {len(order)} requests")
    print(f"server: {memory[0]:.0f} MB before, {memory[1]:.0f} MB after")
    middle, slow = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    print(
        f"state of one's requests: {1000 * middle:.0f} ms in the middle, 99 % {1000 * slow:.0f} ms"
    )


if __name__ == "__main__":
    main()
