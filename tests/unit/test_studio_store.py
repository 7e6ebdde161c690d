"""The studio's store: turns, places, claims, what goes when; and forms."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from studio import write_export

from etude.config import StudioSettings
from etude.errors import UserError
from etude.studio.instruments import Ask, Instrument, find_instruments
from etude.studio.store import HOUR, Store
from etude.studio.sweep import STRAY, sweep


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path)
    yield found
    found.close()


def test_nobody_is_served_twice_before_another_once(store):
    people = [f"p{i:02d}" for i in range(50)]
    jobs = {store.add_job(person, "clips", {}): person for person in people for _ in range(2)}
    served = []
    while job := store.claim("cpu"):
        served.append(jobs[job["id"]])
        store.end(job["id"], "done")
    assert len(served) == 100
    assert sorted(served[:50]) == people
    assert sorted(served[50:]) == people


def test_the_place_that_is_shown_is_the_turn_that_comes(store):
    jobs = [store.add_job("greedy", "clips", {}) for _ in range(3)]
    jobs.append(store.add_job("modest", "clips", {}))
    shown = store.order()
    assert shown.index(jobs[3]) == 1, "behind one of the three, before the other two"
    served = []
    while job := store.claim("cpu"):
        served.append(job["id"])
        assert store.order() == [name for name in store.order() if name not in served]
    assert served == shown


def test_one_job_is_claimed_once_by_many(store, tmp_path):
    for number in range(40):
        store.add_job(f"p{number}", "clips", {})
    start, claimed = threading.Barrier(4), []

    def claim(device):
        own = Store(tmp_path)
        start.wait()
        while job := own.claim(device):
            claimed.append(job["id"])
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(claim, [f"cuda:{i}" for i in range(4)]))
    assert len(claimed) == len(set(claimed)) == 40


def test_a_training_has_the_machine_to_itself(store):
    train, clips = store.add_job("operator", "train", {}), store.add_job("a", "clips", {})
    assert store.claim("cpu")["id"] == clips
    assert store.claim("", "train") is None, "something runs"
    store.end(clips, "done")
    assert store.claim("", "train")["id"] == train
    store.add_job("a", "clips", {})
    assert store.claim("cpu") is None, "nothing starts beside it"


def test_a_job_that_waits_is_cancelled_at_once_and_one_that_runs_is_asked(store):
    first, second = (store.add_job("a", "clips", {}) for _ in range(2))
    assert store.claim("cpu")["id"] == first
    for job in (first, second):
        store.cancel(job)
    assert store.own("jobs", "a", second)["state"] == "cancelled"
    assert store.is_cancelled(first)
    assert store.own("jobs", "a", first)["state"] == "running"
    assert store.claim("cpu") is None


def test_what_is_old_goes_and_what_is_starred_stays(store):
    now, limits = time.time(), StudioSettings(keep_hours=1, starred_hours=3)
    job = store.row("SELECT * FROM jobs WHERE id = ?", store.add_job("a", "clips", {}))
    about = {"seconds": 1.0, "prime_s": 0.0, "has_notes": False}
    for number, name in enumerate(("plain", "starred")):
        (store.clips / f"{name}.wav").write_bytes(b"x")
        store.add_clip(job, number, name, about)
    store.star("starred", True)
    (store.clips / "stray.wav").write_bytes(b"x")
    assert sweep(store, limits, now + HOUR / 2) == 0
    assert (store.clips / "stray.wav").exists() == (HOUR / 2 < STRAY)
    assert sweep(store, limits, now + 2 * HOUR) == 1
    assert [file.name for file in sorted(store.clips.iterdir())] == ["starred.json", "starred.wav"]
    assert sweep(store, limits, now + 4 * HOUR) == 1
    assert list(store.clips.iterdir()) == []
    assert store.rows("SELECT * FROM clips") == []


def test_forms_have_no_files_and_only_what_they_have_is_taken(tmp_path):
    export = write_export(tmp_path / "notes")
    found = Instrument.of(export)
    keys = {control.key for control in found.controls}
    assert {"sampling.temperature", "sampling.grammar"} <= keys
    assert not keys & {"prime", "clips", "batch_size", "prompt", "times", "midi"}
    settings = found.check(
        Ask(model=found.id, settings={"sampling.temperature": 0.5}), StudioSettings()
    )
    assert settings.sampling.temperature == 0.5
    for wrong in (
        {"prime": "/etc/passwd"},
        {"sampling.temperature": -1},
        {"sampling": 3},
        {"x.y": 1},
    ):
        with pytest.raises(UserError):
            found.check(Ask(model=found.id, settings=wrong), StudioSettings())


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": True},
        {"seed": -1},
        {"clips": 0},
        {"seconds": float("nan")},
        {"prime": "../x"},
        {"other": 1},
        {"settings": {"a": [1]}},
    ],
    ids=str,
)
def test_what_is_asked_has_strict_types(wrong):
    with pytest.raises(ValueError, match="validation error"):
        Ask(model="abcdefgh", **wrong)


def test_exports_are_found_alone_and_in_a_folder(tmp_path):
    write_export(tmp_path / "models/a", "a")
    write_export(tmp_path / "models/b", "b", "audiolm")
    (tmp_path / "models/none").mkdir()
    names = [i.exported.name for i in find_instruments([tmp_path / "models"]).values()]
    assert names == ["a", "b"]
    assert len(find_instruments([tmp_path / "models/a"])) == 1
    with pytest.raises(UserError, match="nothing to play"):
        find_instruments([tmp_path / "models/none"])
