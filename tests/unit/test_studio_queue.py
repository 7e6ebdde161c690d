"""Jobs that are cancelled, hang, die, fail; a server that is killed; several devices."""

import contextlib
import json
import signal
import threading
import time
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest
from studio import ask, ended, model, open_studio, running, server, serving, write_export
from studio_worker import BROKEN, DIES, FAILS, HANGS, SLOW

QUICK = {"deaf_seconds": 0.5, "job_seconds": 60}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serving(open_studio(tmp_path_factory.mktemp("studio"), QUICK)) as found:
        yield found


def test_versions_come_one_by_one_with_progress_that_never_falls(client):
    job = ask(client, clips=3, seed=SLOW - 2).json()["id"]
    seen, counts = [], []
    while (found := client.get(f"/api/jobs/{job}").json())["state"] in ("waiting", "running"):
        seen.append(found["percent"])
        counts.append(len(found["clips"]))
        time.sleep(0.05)
    assert found["state"] == "done"
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert {1, 2} & set(counts), "the first was there before the last was made"


def test_a_running_job_is_cancelled_within_a_second(client):
    job = ask(client, seed=SLOW).json()["id"]
    running(client, job)
    began = time.monotonic()
    client.delete(f"/api/jobs/{job}")
    assert ended(client, job)["state"] == "cancelled"
    assert time.monotonic() - began < 1


def test_a_worker_that_hangs_is_ended_and_the_next_job_is_done(client):
    first = ask(client, seed=HANGS).json()["id"]
    second = ask(client, seed=1).json()["id"]
    while client.get(f"/api/jobs/{first}").json()["state"] != "running":
        time.sleep(0.05)
    client.delete(f"/api/jobs/{first}")
    assert ended(client, first, 5)["state"] == "cancelled"
    assert ended(client, second)["state"] == "done"


def test_a_job_that_ends_its_worker_twice_is_not_tried_again(client):
    job = ask(client, seed=DIES).json()["id"]
    after = ask(client, seed=2).json()["id"]
    found = ended(client, job, 30)
    assert found["state"] == "failed"
    assert "ended twice" in found["error"]
    assert ended(client, after)["state"] == "done"


def test_reasons_are_told_and_faults_are_not(client):
    found = ended(client, ask(client, seed=FAILS).json()["id"])
    assert (found["state"], found["error"]) == ("failed", "this cannot be made it is a test")
    found = ended(client, ask(client, seed=BROKEN).json()["id"])
    assert found["state"] == "failed"
    assert "secret" not in found["error"]


def test_a_job_that_takes_too_long_is_ended(tmp_path):
    with serving(open_studio(tmp_path, {"job_seconds": 1.5})) as client:
        found = ended(client, ask(client, seed=HANGS).json()["id"], 30)
        assert found["state"] == "failed"
        assert "longer" in found["error"]


def test_two_devices_work_side_by_side(tmp_path):
    state = open_studio(tmp_path, devices=("cpu", "cuda:0"))
    with serving(state) as client:
        jobs = [ask(client, seed=SLOW, clips=8).json()["id"] for _ in range(2)]
        for job in jobs:
            running(client, job, 30)
        assert {row["device"] for row in state.store.running()} == {"cpu", "cuda:0"}
        assert client.get("/healthz").json() == {"workers": 2, "waiting": 0}


def test_a_disk_that_fills_fails_one_job_and_passes(tmp_path):
    """The folder of clips is gone for a while: a write fails, as on a full disk."""
    state = open_studio(tmp_path)
    with serving(state) as client:
        assert ended(client, ask(client, seed=1).json()["id"])["state"] == "done"
        away = state.store.clips.rename(tmp_path / "away")
        state.store.clips.write_text("in the way")
        state.cached["bytes"] = (state.store.changed(), 0)
        state.store.used_bytes = lambda: 0
        found = ended(client, ask(client, seed=2).json()["id"])
        assert (found["state"], found["clips"]) == ("failed", [])
        state.store.clips.unlink()
        away.rename(state.store.clips)
        assert ended(client, ask(client, seed=3).json()["id"])["state"] == "done"


def test_events_tell_what_changes_and_rest(tmp_path):
    exports = tmp_path / "exports"
    write_export(exports / "notes")
    with server(tmp_path / "data", exports) as (address, _), visitor(address) as client:
        job = ask(client, seed=SLOW).json()["id"]
        states, rest = [], False
        stop = threading.Thread(target=lambda: client.delete(f"/api/jobs/{job}"))
        with client.stream("GET", "/api/events", timeout=30) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                if line.startswith('data: {"id"'):
                    found = json.loads(line[6:])
                    states.append((found["state"], found["percent"]))
                    if found["percent"] > 10 and stop.ident is None:
                        stop.start()
                rest = rest or line == "event: rest"
                if rest:
                    break
        stop.join()
        assert states[-1][0] == "cancelled"
        assert [percent for _, percent in states] == sorted(percent for _, percent in states)


@contextlib.contextmanager
def visitor(address):
    with httpx.Client(base_url=address, headers={"Origin": address}) as client:
        client.get("/")
        yield client


def test_a_server_that_is_killed_loses_nothing_and_makes_nothing_twice(tmp_path):
    exports, data = tmp_path / "exports", tmp_path / "data"
    write_export(exports / "notes")
    with server(data, exports) as (address, process), visitor(address) as client:
        cookie = client.cookies["etude"]
        jobs = [ask(client, seed=seed, clips=2).json()["id"] for seed in (SLOW - 1, 5, 9)]
        while len(client.get(f"/api/jobs/{jobs[0]}").json()["clips"]) < 1:
            time.sleep(0.05)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert psutil.wait_procs(workers, timeout=5)[1] == [], "no worker is left over"
    with server(data, exports) as (address, _), visitor(address) as client:
        client.cookies.clear()
        client.cookies["etude"] = cookie
        found = [ended(client, job, 40) for job in jobs]
        assert [job["state"] for job in found] == ["done"] * 3
        assert [[clip["seed"] for clip in job["clips"]] for job in found] == [
            [SLOW - 1, SLOW],
            [5, 6],
            [9, 10],
        ]
        sounds = {file.stem for file in Path(data, "clips").glob("*.wav")}
        assert sounds == {clip["id"] for job in found for clip in job["clips"]}


def test_two_servers_do_not_share_a_folder(tmp_path):
    exports, data = tmp_path / "exports", tmp_path / "data"
    write_export(exports / "notes")
    with (
        server(data, exports) as (address, _),
        pytest.raises(AssertionError, match="another studio serves"),
        server(data, exports),
    ):
        pass
    assert address


def test_models_are_told(client):
    assert model(client, "sound") != model(client)
