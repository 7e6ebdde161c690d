"""What all requests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request

from etude.config import StudioSettings
from etude.studio.guard import Door
from etude.studio.instruments import Instrument
from etude.studio.primes import Decoders
from etude.studio.queue import Queue
from etude.studio.responses import FULL, NOT_FOUND, Problem
from etude.studio.store import Store

if TYPE_CHECKING:
    from etude.studio.pairs import Test
    from etude.studio.training import Trainings


@dataclass
class StudioState:
    """The studio while it runs.

    Attributes: store, limits, instruments (by id), door, decoders, queue, results (a run's folder,
    for the rooms Listen and Results), test (its blind pairs), trainings (None: nothing may be
    trained), expo (begins again after a while of quiet).
    """

    store: Store
    limits: StudioSettings
    instruments: dict[str, Instrument]
    door: Door
    decoders: Decoders
    queue: Queue
    results: Path | None = None
    test: Test | None = None
    trainings: Trainings | None = None
    expo: bool = False
    cached: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def since(self, key: str, make: Any) -> Any:
        """What `make` gives, made again only when the store has changed."""
        changed = self.store.changed()
        if key not in self.cached or self.cached[key][0] != changed:
            self.cached[key] = (changed, make())
        return self.cached[key][1]

    def room(self) -> None:
        """See that there is room for more.

        Raises:
            Problem: primes and clips take as much as they may.
        """
        if self.since("bytes", self.store.used_bytes) > self.limits.disk_mb * 1e6:
            raise Problem(507, FULL)

    def own(self, table: str, request: Request) -> dict[str, Any]:
        """What a request names, where it is the visitor's own.

        Raises:
            Problem: 404, also for what belongs to another: nobody learns what exists.
        """
        visitor = self.door.visitor(request)
        found = self.store.own(table, visitor["id"], request.path_params["id"])
        if found is None:
            raise NOT_FOUND
        return found


def state_of(request: Request) -> StudioState:
    """That of the application."""
    return cast("StudioState", request.app.state.studio)
