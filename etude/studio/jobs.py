"""Routes of jobs: ask for clips, see how far they are, cancel; and the stream of what changes."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from etude.errors import UserError
from etude.studio.guard import body_of
from etude.studio.instruments import MOST_SEED, SECONDS, Ask
from etude.studio.responses import NOT_FOUND, Problem, answer, parsed
from etude.studio.state import StudioState, state_of
from etude.studio.store import ENDED

SHOWN = 50  # jobs of a visitor's history
EVENT_SECONDS, COMMENT_SECONDS, STREAM_SECONDS = 0.25, 15.0, 600.0
BODY = 64 * 2**10


async def create(request: Request) -> Response:
    """POST api/jobs: a request for clips."""
    state = state_of(request)
    visitor = state.door.visitor(request)["id"]
    ask = validated_ask(state, visitor, parsed(await body_of(request, BODY)))
    if state.store.waiting(visitor) >= state.limits.waiting:
        raise Problem(429, f"You have {state.limits.waiting} requests waiting; let one be made.")
    if state.store.waiting() >= state.limits.queue:
        raise Problem(503, "Very many are waiting; please try again in some minutes.")
    state.room()
    state.door.count(request, visitor, state.limits.hourly, state.limits.address_hourly)
    job = state.store.add_job(visitor, "clips", ask.model_dump(mode="json"))
    return answer(view(state, visitor, job)[0], 201)


def validated_ask(state: StudioState, visitor: str, data: Any) -> Ask:
    """A request for clips that can be made.

    Raises:
        Problem: it is none, or names what is not there.
    """
    try:
        ask = Ask.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        raise Problem(422, f"{where}: {first['msg']}") from None
    instrument = state.instruments.get(ask.model)
    if instrument is None:
        raise Problem(422, "There is no such model here; reload the page.")
    try:
        instrument.check(ask, state.limits)
    except UserError as error:
        raise Problem(422, " ".join(error.what.split())) from None
    for table, name in (("primes", ask.prime), ("clips", ask.clip)):
        if name is None:
            continue
        found = state.store.own(table, visitor, name)
        if found is None:
            raise NOT_FOUND
        if not found["notes"] and "recording" not in instrument.takes:
            raise Problem(422, "This model continues notes, and this is a recording.")
        if found["seconds"] > state.limits.prime_seconds:
            raise Problem(422, "What this continues is too long by now.")
    filled = {"seed": secrets.randbelow(MOST_SEED) if ask.seed is None else ask.seed}
    if instrument.timed and ask.seconds is None:
        filled |= {"seconds": min(SECONDS, state.limits.seconds)}  # type: ignore[dict-item]
    return ask.model_copy(update=filled)


def view(state: StudioState, visitor: str, job: str | None = None) -> list[dict[str, Any]]:
    """A visitor's jobs as the page gets them, the newest first; of all or of one."""
    store = state.store
    one, names = ("AND id = ?", [job]) if job else ("", [])
    rows = store.rows(
        f"SELECT * FROM jobs WHERE visitor = ? AND kind = 'clips' {one} "  # noqa: S608
        "ORDER BY number DESC LIMIT ?",
        *(visitor, *names, SHOWN),
    )
    clips = store.clips_of([row["id"] for row in rows]) if rows else {}
    order = state.since("order", store.order)
    places = {name: place for place, name in enumerate(order, start=1)}
    now = time.time()
    found = []
    for row in rows:
        place = places.get(row["id"], 0)
        keys = ("id", "state", "stage", "percent", "error", "created")
        entry: dict[str, Any] = {key: row[key] for key in keys}
        entry |= {
            "ask": json.loads(row["ask"]),
            "place": place if row["state"] == "waiting" else 0,
            "eta": _left(state, row, place, now),
            "clips": [clip_view(clip) for clip in clips[row["id"]]],
            "cancelling": row["cancel"] is not None,
        }
        found.append(entry)
    return found


def clip_view(clip: dict[str, Any]) -> dict[str, Any]:
    """A clip as the page gets it."""
    keys = ("id", "number", "seconds", "prime", "notes", "starred")
    return {key: clip[key] for key in keys} | json.loads(clip["about"])


def _left(state: StudioState, job: dict[str, Any], place: int, now: float) -> float:
    """Seconds until a job ends: of one that waits, by what the last ones took."""
    if job["state"] == "running":
        return round(float(job["eta"]), 1)
    if job["state"] != "waiting":
        return 0.0
    usual = state.since("usual", state.store.usual_seconds)
    running = state.since("running", state.store.running)
    rest = sum(max(usual - (now - row["started"]), 0.0) for row in running)
    return round((rest + usual * place) / max(len(state.queue.workers), 1), 0)


async def index(request: Request) -> Response:
    """GET api/jobs: the visitor's history."""
    state = state_of(request)
    return answer(view(state, state.door.visitor(request)["id"]))


async def one(request: Request) -> Response:
    """GET api/jobs/{id}."""
    state = state_of(request)
    job = state.own("jobs", request)
    found = view(state, job["visitor"], job["id"])
    if not found:
        raise NOT_FOUND
    return answer(found[0])


async def cancel(request: Request) -> Response:
    """DELETE api/jobs/{id}: stop it; what is made of it stays."""
    state = state_of(request)
    job = state.own("jobs", request)
    state.store.cancel(job["id"])
    return answer({"id": job["id"]})


async def events(request: Request) -> Response:
    """GET api/events: the visitor's jobs as they change; the page closes it when nothing runs."""
    state = state_of(request)
    visitor = state.door.visitor(request)["id"]
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(request, state, visitor), media_type="text/event-stream", headers=headers
    )


async def _events(request: Request, state: StudioState, visitor: str) -> AsyncIterator[str]:
    known: dict[str, str] = {}
    began = spoken = time.monotonic()
    changed: Any = None
    while (now := time.monotonic()) - began < STREAM_SECONDS:
        if (seen := state.store.changed()) != changed:
            changed = seen
            jobs = view(state, visitor)
            lines = {job["id"]: json.dumps(job) for job in jobs}
            new = [line for name, line in lines.items() if known.get(name) != line]
            known = lines
            for line in new:
                spoken = now
                yield f"event: job\ndata: {line}\n\n"
            if all(job["state"] in ENDED for job in jobs):
                yield "event: rest\ndata: {}\n\n"
        if now - spoken > COMMENT_SECONDS:
            spoken = now
            yield ": still here\n\n"
        await asyncio.sleep(EVENT_SECONDS)
        if await request.is_disconnected():
            return
