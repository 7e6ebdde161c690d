"""Work spread over processes: results in order, memory flat, one progress bar.

Files come from anywhere, and the C libraries that read them can be brought down by one: a worker
that dies costs neither the others' results nor its own neighbours'. What it was busy with is done
again, each item in a process of its own, and the item that kills that one too is known by name.

Nor may an exception that nobody foresaw end a run: it costs the item that it came of. What is not
the item's fault, though, is everyone's: a full disk, no memory, an error of the user's to fix.
"""

from __future__ import annotations

import itertools
import multiprocessing
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from etude.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Forked workers have what is imported already. Elsewhere system libraries do not survive a fork.
START = "fork" if sys.platform == "linux" else "spawn"
tqdm.monitor_interval = 0  # a thread beside a fork may leave a lock held in the worker

# Signals by which a process dies of what it does; others come from outside.
OWN_FAULTS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
NOT_THE_ITEMS = (UserError, OSError, MemoryError)
OF_THE_DEVICE = ("cuda", "out of memory")  # what torch's own errors say


@dataclass(frozen=True)
class Failed:
    """In place of a result: why there is none."""

    reason: str


def tried(function: Callable[[Item], Result], item: Item) -> Result | Failed:
    """The result of an item, or the exception that it ended with as a reason."""
    try:
        return function(item)
    except NOT_THE_ITEMS as error:
        if isinstance(error, UserError) and (reason := getattr(error, "reason", "")):
            return Failed(reason)  # an AudioError is of one file
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if any(word in text.lower() for word in OF_THE_DEVICE):
            raise
        text = re.sub(r"0x[0-9a-f]{6,}", "0x…", text)[:120]  # no address: equal runs, equal bytes
        return Failed(f"failed: {type(error).__name__}" + f": {text}" * bool(text))


def tried_together(
    function: Callable[[Sequence[Item]], Sequence[Result]], batch: Sequence[Item]
) -> list[Result | Failed]:
    """The results of a batch; where it fails as a whole, those of each item alone."""
    found = tried(function, batch)
    if not isinstance(found, Failed):
        return list(found)
    if len(batch) == 1:
        return [found]
    return [alone for item in batch for alone in tried_together(function, [item])]


def map_in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int,
    *,
    title: str,
    unit: str = "file",
    chunk: int = 1,
    fallen: Callable[[Item, str], Result] | None = None,
    failed: Callable[[Item, str], Result] | None = None,
    limit_s: float = 0.0,
) -> Iterator[Result]:
    """Apply `function` to every item; yield the results in the order of the items.

    Args:
        function: picklable.
        items: what is worked on.
        threads: worker processes; with one, all is done here, unless `fallen` is given.
        title: what the progress bar says.
        unit: what the progress bar counts.
        chunk: items that are sent to a worker at a time. Four chunks per worker are under way
            at most, so that memory does not grow with the number of items.
        fallen: gives the result of an item that brings its worker down, from the item and the
            reason (`crashed: SIGSEGV`, `takes_too_long: …`, `failed: ValueError: …`).
        failed: as `fallen`, of exceptions alone, which need no process of their own. Without
            either, an exception ends the map.
        limit_s: seconds of computing after which an item's worker is ended; 0: no limit.

    Raises:
        UserError: a worker was killed from outside, or died and there is no `fallen`.
    """
    failed = failed or fallen
    work: Callable[[Item], Any] = partial(tried, function) if failed else function
    with tqdm(total=len(items), desc=title, unit=unit, mininterval=1, leave=False) as bar:
        if fallen is None and (threads <= 1 or len(items) <= chunk):
            results: Iterator[Any] = map(work, items)
        else:
            batches = [items[i : i + chunk] for i in range(0, len(items), chunk)]
            workers = max(1, min(threads, len(batches)))
            results = _Workers(work, workers, fallen, limit_s).map(batches)
        for item, result in zip(items, results, strict=True):
            bar.update()
            if failed and isinstance(result, Failed):
                result = failed(item, result.reason)
            yield result


class _Workers(Generic[Item, Result]):
    """A pool that is set up again when one of its workers dies."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        workers: int,
        fallen: Callable[[Item, str], Result] | None,
        limit_s: float,
    ) -> None:
        self.function, self.workers = function, workers
        self.fallen, self.limit_s = fallen, limit_s
        self.context = multiprocessing.get_context(START)
        self.pool = ProcessPoolExecutor(workers, self.context)

    def map(self, batches: Iterable[Sequence[Item]]) -> Iterator[Result]:
        """The results of all items, batch by batch."""
        waiting = iter(batches)
        begun = deque((b, self._submit(b)) for b in itertools.islice(waiting, 4 * self.workers))
        try:
            while begun:
                batch, future = begun.popleft()
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    self.pool.shutdown(wait=True, cancel_futures=True)
                    yield from map(self._alone, batch)
                    self.pool = ProcessPoolExecutor(self.workers, self.context)
                    begun = deque((b, self._submit(b) if _lost(f) else f) for b, f in begun)
                begun.extend((b, self._submit(b)) for b in itertools.islice(waiting, 1))
        finally:
            self.pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, batch: Sequence[Item]) -> Future[list[Result]]:
        try:
            return self.pool.submit(_apply, self.function, batch, self.limit_s)
        except BrokenProcessPool as error:  # found out when its turn comes
            failed: Future[list[Result]] = Future()
            failed.set_exception(error)
            return failed

    def _alone(self, item: Item) -> Result:
        """The result of one item, computed in a process that has nothing else to lose."""
        receiver, sender = self.context.Pipe(duplex=False)
        target, arguments = _send, (sender, self.function, item, self.limit_s)
        worker: Any = self.context.Process(target=target, args=arguments)  # type: ignore[attr-defined]
        worker.start()
        sender.close()
        try:
            result, error = receiver.recv()
        except EOFError:
            result = error = None
        worker.join()
        if error is not None:
            raise error
        return self._without(item, worker.exitcode) if worker.exitcode else result

    def _without(self, item: Item, status: int) -> Result:
        cause = signal.Signals(-status).name if status < 0 else f"status {status}"
        if self.fallen and cause == "SIGPROF":
            return self.fallen(item, f"takes_too_long: over {self.limit_s:.0f} s of computing")
        if self.fallen and cause in OWN_FAULTS:
            return self.fallen(item, f"crashed: {cause}")
        raise UserError(
            f"a worker process died ({cause})",
            where=" ".join(map(str, item)) if isinstance(item, tuple) else str(item),
            why="most often the system ended it because memory ran out",
            do="run again with fewer cores, or with more memory (`mem_mb` of the rule); "
            "if it is always this one, leave it out",
        )


def _lost(future: Future[Any]) -> bool:
    return future.cancelled() or isinstance(future.exception(), BrokenProcessPool)


def _apply(
    function: Callable[[Item], Result], batch: Sequence[Item], limit_s: float
) -> list[Result]:
    return [_limited(function, item, limit_s) for item in batch]


def _limited(function: Callable[[Item], Result], item: Item, limit_s: float) -> Result:
    """The system ends this process (SIGPROF) when it computes longer, in C code too."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        return function(item)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _send(
    sender: Connection, function: Callable[[Item], Result], item: Item, limit_s: float
) -> None:
    try:
        sender.send((_limited(function, item, limit_s), None))
    except Exception as error:  # noqa: BLE001 (raised again where it is awaited)
        sender.send((None, error))
