"""Deleting what has been kept long enough, and files that nothing names any more."""

from __future__ import annotations

import time

from etude.config import StudioSettings
from etude.studio.store import ENDED, HOUR, Store

STRAY = 600.0  # seconds after which a file that no row names is of a process that died


def sweep(store: Store, limits: StudioSettings, now: float | None = None) -> int:
    """Delete primes, clips, jobs and visitors of long ago; how many primes and clips went."""
    now = time.time() if now is None else now
    old, older = now - HOUR * limits.keep_hours, now - HOUR * limits.starred_hours
    gone = 0
    for table, query, values in (
        ("primes", "SELECT id FROM primes WHERE created < ?", (old,)),
        (
            "clips",
            "SELECT id FROM clips WHERE created < CASE WHEN starred THEN ? ELSE ? END",
            (older, old),
        ),
    ):
        names = [row["id"] for row in store.rows(query, *values)]
        store.remove(table, names)
        gone += len(names)
    ended = ",".join(f"'{state}'" for state in ENDED)
    store.sql.execute(
        f"DELETE FROM jobs WHERE state IN ({ended}) AND ended < ? "  # noqa: S608
        "AND id NOT IN (SELECT job FROM clips)",
        (old,),
    )
    store.sql.execute(
        "DELETE FROM visitors WHERE seen < ? AND rights = '' "
        "AND id NOT IN (SELECT visitor FROM clips) AND id NOT IN (SELECT visitor FROM jobs)",
        (older,),
    )
    _strays(store, now)
    return gone


def _strays(store: Store, now: float) -> None:
    """Files that no row names: of a decoder or worker that was killed in the middle."""
    for table in ("primes", "clips"):
        known = {row["id"] for row in store.rows(f"SELECT id FROM {table}")}  # noqa: S608
        for file in (store.folder / table).iterdir():
            if file.name.split(".")[0] not in known and file.stat().st_mtime < now - STRAY:
                file.unlink(missing_ok=True)
