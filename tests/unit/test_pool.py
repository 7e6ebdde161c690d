"""The pool: order, and that a file which brings its reader down costs nothing but itself."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import time
from functools import partial

import pytest
from refused import refused

from etude.errors import UserError
from etude.pool import Failed, map_in_order, tried, tried_together


def work(item):
    """What an item says: a number is doubled, a word is how the worker dies."""
    faulthandler.disable()  # the deaths are meant
    if item == "segfault":
        ctypes.string_at(0)
    if item == "hang":
        sum(range(10**15))  # one call of C code: no exception can end it
    if item == "error":
        raise ValueError("this one")
    if isinstance(item, str):
        os.kill(os.getpid(), getattr(signal, item))
        time.sleep(30)
    return 2 * item


def run(items, threads, fallen=lambda item, reason: (item, reason), chunk=2, limit_s=0.0):
    pool = map_in_order(
        work, items, threads, title="test", chunk=chunk, fallen=fallen, limit_s=limit_s
    )
    return list(pool)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk", [1, 4])
def test_a_worker_that_dies_costs_one_item(threads, chunk):
    items = [*range(20), "segfault", *range(20, 30), "SIGABRT", "SIGBUS", *range(30, 40)]
    lost = {"segfault": "SIGSEGV"}
    expected = [(i, f"crashed: {lost.get(i, i)}") if isinstance(i, str) else 2 * i for i in items]
    assert run(items, threads, chunk=chunk) == expected


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended():
    began = time.monotonic()
    made = run([1, "hang", 2], 2, limit_s=0.5)
    assert made == [2, ("hang", "takes_too_long: over 0 s of computing"), 4]
    assert time.monotonic() - began < 30


def test_waiting_is_not_computing():
    slow = map_in_order(
        time.sleep, [0.6, 0.6], 2, title="test", fallen=lambda *_: "lost", limit_s=0.3
    )
    assert list(slow) == [None, None]


@pytest.mark.slow
def test_the_limit_is_for_each_item(monkeypatch):
    """A chunk of many quick files may take longer than one file may."""
    busy = partial(_compute, 0.2)
    made = map_in_order(
        busy, range(6), 1, title="test", chunk=6, fallen=lambda *_: "lost", limit_s=0.8
    )
    assert list(made) == list(range(6))


def _compute(seconds, item):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return item


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_who_was_killed_from_outside_is_not_blamed(name):
    """No memory, or a person: the run stops, and says at which file."""
    with refused("worker-died", name) as caught:
        run([1, 2, name, 3], 2)
    assert caught.value.where == name


def test_without_a_word_for_it_the_run_stops_and_names_the_item():
    with refused("worker-died", "SIGSEGV") as caught:
        run([1, 2, 3, "segfault"], 2, fallen=None)
    assert caught.value.where == "segfault"


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("neighbour", ["SIGSEGV", 1])
def test_an_exception_costs_one_item(threads, neighbour):
    made = run([neighbour, "error", 2, 3, 4], threads)
    assert made[1:] == [("error", "failed: ValueError: this one"), 4, 6, 8]


def test_an_exception_needs_no_process_of_its_own():
    here = []
    made = map_in_order(
        lambda item: here.append(item) or work(item), [1, "error", 2], 1, title="test",
        failed=lambda item, reason: reason,
    )  # fmt: skip
    assert list(made) == [2, "failed: ValueError: this one", 4]
    assert here == [1, "error", 2]


@pytest.mark.slow
@pytest.mark.parametrize("neighbour", ["SIGABRT", 1])
@pytest.mark.parametrize(
    "error",
    [
        UserError("mend it", code="a-test"),
        OSError(28, "full"),
        MemoryError(),
        RuntimeError("CUDA error"),
    ],
)
def test_what_is_not_the_items_fault_ends_the_map(error, neighbour):
    work = partial(_raising, error)
    with pytest.raises(type(error)):
        list(map_in_order(work, [neighbour, 2], 2, title="test", fallen=lambda *_: "lost"))


def _raising(error, item):
    if isinstance(item, str):
        return work(item)
    raise error


def test_without_a_word_for_it_an_exception_ends_the_map():
    with pytest.raises(ValueError, match="this one"):
        run([1, "error", 2, 3, 4], 2, fallen=None)


def test_a_batch_that_fails_is_done_one_by_one():
    def inverses(batch):
        return [1 / item for item in batch]

    assert tried_together(inverses, [1, 2]) == [1, 0.5]
    assert tried_together(inverses, [1, 0, 2]) == [
        1, Failed("failed: ZeroDivisionError: division by zero"), 0.5
    ]  # fmt: skip


def test_a_reason_is_the_same_in_every_run():
    def say(item):
        raise ValueError(f"{object()!r}\n  of two lines")

    assert tried(say, 0) == Failed("failed: ValueError: <object object at 0x…> of two lines")


def test_one_that_died_by_chance_is_done_again(tmp_path):
    made = map_in_order(partial(_once, tmp_path / "been"), [1, 2, 3], 2, title="test")
    assert list(made) == [1, 2, 3]


def _once(mark, item):
    if item == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item
