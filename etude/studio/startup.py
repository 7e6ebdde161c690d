"""Puts the studio together."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from etude.config import Config
from etude.errors import UserError
from etude.studio.guard import Door
from etude.studio.instruments import Instrument
from etude.studio.pairs import Test
from etude.studio.primes import Decoders
from etude.studio.queue import Queue
from etude.studio.state import StudioState
from etude.studio.store import Store
from etude.studio.training import Trainings

log = logging.getLogger(__name__)


def open_state(
    options: argparse.Namespace,
    settings: Config,
    instruments: dict[str, Instrument],
    codes: Sequence[str | None],
    devices: Sequence[str],
) -> StudioState:
    """All that requests share, from what the command was asked."""
    limits = settings.studio
    store = Store(options.folder)
    exports = [instrument.exported.folder for instrument in instruments.values()]
    return StudioState(
        store=store,
        limits=limits,
        instruments=instruments,
        door=Door(store, *codes, at_home=not options.behind_proxy),
        decoders=Decoders(store, limits.prime_seconds),
        queue=Queue(store, limits, devices, exports),
        results=options.results,
        test=_test(options.results),
        trainings=Trainings(store, options.train) if options.train else None,
        expo=options.expo,
    )


def _test(results: Path | None) -> Test | None:
    """The blind pairs of a run; None: there is nothing to compare, which the log says."""
    if results is None:
        return None
    try:
        return Test.of_run(results)
    except UserError as error:
        log.info("no listening test: %s", error.what)
        return None
