"""What the studio keeps: visitors, primes, jobs, clips and ratings, in SQLite and two folders.

studio.sqlite          all rows; several processes write it (WAL)
primes/<id>.wav .mid   what visitors brought, rewritten; .json: its notes and peaks
clips/<id>.wav .mid    what was made; .json: notes, peaks, and the settings that make it again

A job is claimed by one UPDATE, so that no two workers have it. Its turn: the jobs that its visitor
had started in the last hour and those of hers that wait before it, then its number. The place in
the queue that she is shown is by that same key.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etude.storage import write_json

SCHEMA = """
CREATE TABLE IF NOT EXISTS visitors(
    id TEXT PRIMARY KEY, token TEXT UNIQUE, rights TEXT DEFAULT '', seen REAL);
CREATE TABLE IF NOT EXISTS primes(
    id TEXT PRIMARY KEY, visitor TEXT, seconds REAL, notes INTEGER, created REAL);
CREATE TABLE IF NOT EXISTS jobs(
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, visitor TEXT, kind TEXT, ask TEXT,
    state TEXT DEFAULT 'waiting', stage TEXT DEFAULT '', percent REAL DEFAULT 0,
    eta REAL DEFAULT 0, error TEXT DEFAULT '', attempts INTEGER DEFAULT 0, device TEXT DEFAULT '',
    cancel REAL, created REAL, started REAL, ended REAL, loaded REAL DEFAULT 0);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs(state, visitor, number);
CREATE INDEX IF NOT EXISTS jobs_by_visitor ON jobs(visitor, started);
CREATE TABLE IF NOT EXISTS clips(
    id TEXT PRIMARY KEY, job TEXT, visitor TEXT, number INTEGER, seconds REAL, prime REAL,
    notes INTEGER, starred INTEGER DEFAULT 0, created REAL, about TEXT, UNIQUE(job, number));
CREATE TABLE IF NOT EXISTS shares(token TEXT PRIMARY KEY, clip TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS pairs(
    id TEXT PRIMARY KEY, visitor TEXT, number INTEGER, a TEXT, b TEXT, catch INTEGER,
    answer INTEGER, heard_s REAL, UNIQUE(visitor, number));
"""
ENDED = ("done", "failed", "cancelled")
HOUR = 3600.0
TURN = """
(SELECT count(*) FROM jobs s WHERE s.visitor = j.visitor AND s.started > :hour)
+ (SELECT count(*) FROM jobs q
   WHERE q.visitor = j.visitor AND q.state = 'waiting' AND q.number < j.number)
"""
Row = dict[str, Any]


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_urlsafe(16)


class Store:
    """The studio's database and files; one a process, on one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.primes, self.clips = folder / "primes", folder / "clips"
        for place in (folder, self.primes, self.clips):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.sql = sqlite3.connect(
            folder / "studio.sqlite", timeout=10, isolation_level=None, check_same_thread=False
        )
        self.sql.row_factory = sqlite3.Row
        self.sql.execute("PRAGMA journal_mode = WAL")
        self.sql.execute("PRAGMA synchronous = NORMAL")
        self.sql.executescript(SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self.sql.close()

    def rows(self, query: str, *values: Any, **named: Any) -> list[Row]:
        """Rows of a query."""
        return [dict(row) for row in self.sql.execute(query, named or values)]

    def row(self, query: str, *values: Any, **named: Any) -> Row | None:
        """The first row of a query."""
        return next(iter(self.rows(query, *values, **named)), None)

    def changed(self) -> tuple[int, int]:
        """A value that differs whenever another process, or this one, has written."""
        (other,) = self.sql.execute("PRAGMA data_version").fetchone()
        return other, self.sql.total_changes

    # ------------------------------------------------------------------------------- visitors

    def visitor(self, token: str) -> Row | None:
        """Who has a cookie, by the hash of its value."""
        return self.row("SELECT * FROM visitors WHERE token = ?", token)

    def add_visitor(self, token: str) -> Row:
        """A new one."""
        visitor = new_id()
        self.sql.execute(
            "INSERT INTO visitors(id, token, seen) VALUES(?, ?, ?)", (visitor, token, time.time())
        )
        found = self.visitor(token)
        assert found is not None
        return found

    def grant(self, visitor: str, rights: str) -> None:
        """What a code has opened to a visitor: `visitor` or `operator`."""
        self.sql.execute("UPDATE visitors SET rights = ? WHERE id = ?", (rights, visitor))

    # --------------------------------------------------------------------------------- primes

    def add_prime(self, visitor: str, name: str, seconds: float, notes: bool) -> None:
        """A prime whose files lie in `primes` already."""
        self.sql.execute(
            "INSERT INTO primes VALUES(?, ?, ?, ?, ?)", (name, visitor, seconds, notes, time.time())
        )

    def own(self, table: str, visitor: str, name: str) -> Row | None:
        """A prime, a job, a clip or a pair of this visitor's; None: it is nobody's, or another's.

        Args:
            table: a word of the program's, never of a request.
        """
        assert table in {"primes", "jobs", "clips", "pairs"}
        query = f"SELECT * FROM {table} WHERE id = ? AND visitor = ?"  # noqa: S608
        return self.row(query, name, visitor)

    # ----------------------------------------------------------------------------------- jobs

    def add_job(self, visitor: str, kind: str, ask: Row) -> str:
        """Add a job at the end of the queue; its id."""
        name = new_id()
        self.sql.execute(
            "INSERT INTO jobs(id, visitor, kind, ask, created) VALUES(?, ?, ?, ?, ?)",
            (name, visitor, kind, json.dumps(ask), time.time()),
        )
        return name

    def waiting(self, visitor: str | None = None) -> int:
        """How many jobs wait, of a visitor or of all."""
        where = "" if visitor is None else " AND visitor = :visitor"
        query = f"SELECT count(*) AS n FROM jobs WHERE state = 'waiting'{where}"  # noqa: S608
        found = self.row(query, **({"visitor": visitor} if visitor else {}))
        return int(found["n"]) if found else 0

    def order(self) -> list[str]:
        """Ids of the jobs that wait, the next first."""
        query = (
            f"SELECT id, {TURN} AS turn FROM jobs j WHERE state = 'waiting' ORDER BY turn, number"  # noqa: S608
        )
        return [row["id"] for row in self.rows(query, hour=time.time() - HOUR)]

    def claim(self, device: str, kind: str = "clips") -> Row | None:
        """The next job of a kind, for this device alone; None: none waits, or the device is taken.

        A training has the machine to itself: it waits until nothing runs, and nothing starts
        beside it.
        """
        query = f"""
            UPDATE jobs SET state = 'running', device = :device, started = :now,
                attempts = attempts + 1, stage = '', percent = 0
            WHERE number = (SELECT number FROM jobs j WHERE state = 'waiting' AND kind = :kind
                            ORDER BY {TURN}, number LIMIT 1)
              AND NOT EXISTS(SELECT 1 FROM jobs r WHERE r.state = 'running'
                             AND (r.kind = 'train' OR :kind = 'train'))
            RETURNING *"""  # noqa: S608
        now = time.time()
        return self.row(query, device=device, now=now, hour=now - HOUR, kind=kind)

    def tell(self, job: str, stage: str, percent: float, eta: float) -> None:
        """How far a job is."""
        self.sql.execute(
            "UPDATE jobs SET stage = ?, percent = ?, eta = ? WHERE id = ? AND state = 'running'",
            (stage, percent, eta, job),
        )

    def loaded(self, job: str, seconds: float) -> None:
        """How long a job waited for its model to be loaded."""
        self.sql.execute("UPDATE jobs SET loaded = ? WHERE id = ?", (seconds, job))

    def end(self, job: str, state: str, error: str = "") -> bool:
        """A running or waiting job ends; whether it was one."""
        assert state in ENDED
        query = (
            "UPDATE jobs SET state = ?, error = ?, ended = ?, device = '', eta = 0 "
            "WHERE id = ? AND state IN ('waiting', 'running')"
        )
        return self.sql.execute(query, (state, error, time.time(), job)).rowcount > 0

    def again(self, job: str) -> None:
        """A job whose worker has died waits again."""
        self.sql.execute(
            "UPDATE jobs SET state = 'waiting', device = '', started = NULL "
            "WHERE id = ? AND state = 'running'",
            (job,),
        )

    def cancel(self, job: str) -> None:
        """End a job that waits, and ask the worker of one that runs to stop."""
        now = time.time()
        self.sql.execute(
            "UPDATE jobs SET cancel = :now, "
            "ended = CASE state WHEN 'waiting' THEN :now ELSE ended END, "
            "state = CASE state WHEN 'waiting' THEN 'cancelled' ELSE state END "
            "WHERE id = :job AND state IN ('waiting', 'running') AND cancel IS NULL",
            {"now": now, "job": job},
        )

    def is_cancelled(self, job: str) -> bool:
        """Whether a job is to stop; also where it is gone."""
        found = self.row("SELECT cancel FROM jobs WHERE id = ? AND state = 'running'", job)
        return found is None or found["cancel"] is not None

    def running(self, device: str | None = None) -> list[Row]:
        """Jobs that run, on a device or on all."""
        rows = self.rows("SELECT * FROM jobs WHERE state = 'running'")
        return [row for row in rows if device in (None, row["device"])]

    def usual_seconds(self) -> float:
        """How long the last jobs took without loading, in the mean; 10 where none has ended."""
        query = (
            "SELECT avg(ended - started - loaded) AS s FROM (SELECT * FROM jobs "
            "WHERE state = 'done' AND kind = 'clips' ORDER BY ended DESC LIMIT 20)"
        )
        found = self.row(query)
        return float(found["s"]) if found and found["s"] is not None else 10.0

    # ---------------------------------------------------------------------------------- clips

    def has_clip(self, job: str, number: int) -> bool:
        """Whether a version is made already, by a worker that died later."""
        return bool(self.rows("SELECT 1 FROM clips WHERE job = ? AND number = ?", job, number))

    def add_clip(self, job: Row, number: int, name: str, about: Row) -> None:
        """A clip whose sound and notes lie in `clips` already; writes its .json."""
        write_json(self.clips / f"{name}.json", about)
        kept = {key: about[key] for key in ("seed", "command", "settings") if key in about}
        self.sql.execute(
            "INSERT OR IGNORE INTO clips VALUES(?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
            (
                *(name, job["id"], job["visitor"], number, about["seconds"], about["prime_s"]),
                *(about["has_notes"], time.time(), json.dumps(kept)),
            ),
        )

    def clips_of(self, jobs: Iterable[str]) -> dict[str, list[Row]]:
        """Clips by job, in order."""
        found: dict[str, list[Row]] = {job: [] for job in jobs}
        marks = ",".join("?" * len(found))
        query = f"SELECT * FROM clips WHERE job IN ({marks}) ORDER BY job, number"  # noqa: S608
        for row in self.rows(query, *found):
            found[row["job"]].append(row)
        return found

    def star(self, clip: str, starred: bool) -> None:
        """Keep a clip longer, or not."""
        self.sql.execute("UPDATE clips SET starred = ? WHERE id = ?", (starred, clip))

    def share(self, clip: str) -> str:
        """The token that lets its holder hear a clip; one per clip."""
        self.sql.execute("INSERT OR IGNORE INTO shares VALUES(?, ?)", (new_id(), clip))
        found = self.row("SELECT token FROM shares WHERE clip = ?", clip)
        assert found is not None
        return str(found["token"])

    def shared(self, token: str) -> Row | None:
        """The clip of a token."""
        return self.row(
            "SELECT clips.* FROM clips JOIN shares ON clip = clips.id WHERE token = ?", token
        )

    # --------------------------------------------------------------------------------- going

    def remove(self, table: str, names: Iterable[str]) -> None:
        """Delete primes or clips, their files first: a row that is left is swept again."""
        assert table in {"primes", "clips"}
        for name in names:
            for suffix in (".wav", ".mid", ".json", ".near.wav"):
                (self.folder / table / f"{name}{suffix}").unlink(missing_ok=True)
            self.sql.execute(f"DELETE FROM {table} WHERE id = ?", (name,))  # noqa: S608
            self.sql.execute("DELETE FROM shares WHERE clip = ?", (name,))

    def remove_all(self, visitor: str) -> None:
        """Delete all that a visitor has; ratings stay, under a meaningless number."""
        for job in self.rows("SELECT id FROM jobs WHERE visitor = ?", visitor):
            self.cancel(job["id"])
        for table in ("primes", "clips"):
            query = f"SELECT id FROM {table} WHERE visitor = ?"  # noqa: S608
            self.remove(table, [row["id"] for row in self.rows(query, visitor)])
        self.sql.execute(
            "DELETE FROM jobs WHERE visitor = ? AND state NOT IN ('running')", (visitor,)
        )

    def used_bytes(self) -> int:
        """Bytes of all primes and clips."""
        files = (file for place in (self.primes, self.clips) for file in place.iterdir())
        return sum(file.stat().st_size for file in files)
