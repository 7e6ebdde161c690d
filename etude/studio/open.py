"""Puts the studio together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from etude.config import Config
from etude.studio.guard import Door
from etude.studio.instruments import Instrument
from etude.studio.primes import Decoders
from etude.studio.queue import Queue
from etude.studio.state import State
from etude.studio.store import Store


def open_state(
    options: argparse.Namespace,
    settings: Config,
    instruments: dict[str, Instrument],
    codes: Sequence[str | None],
    devices: Sequence[str],
) -> State:
    """All that requests share, from what the command was asked."""
    limits = settings.studio
    store = Store(options.folder)
    exports = [instrument.exported.folder for instrument in instruments.values()]
    return State(
        store=store,
        limits=limits,
        instruments=instruments,
        door=Door(store, *codes),
        decoders=Decoders(store, limits.prime_seconds),
        queue=Queue(store, limits, devices, exports),
        results=options.results,
        expo=options.expo,
    )
