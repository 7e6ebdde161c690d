"""Routes of the room Listen: pairs, answers, what was found."""

from __future__ import annotations

import asyncio
import csv
import io
import secrets
from pathlib import Path
from random import Random
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from etude.errors import UserError
from etude.results.preference import COLUMNS, agreement, counted, preferences
from etude.studio.guard import body_of, hashed
from etude.studio.pairs import ClipPair, Test, write_pair
from etude.studio.responses import NOT_FOUND, Problem, answer, parsed
from etude.studio.state import StudioState, state_of
from etude.studio.store import new_id

MIN_LISTEN_SECONDS = 3.0  # of both sides, before an answer counts
SLACK = 0.3
ANSWERS = range(-2, 3)


async def next_pair(request: Request) -> Response:
    """GET api/listen/next: the pair that waits for an answer, or a new one."""
    state = state_of(request)
    visitor = state.door.visitor(request)["id"]
    test = _test(state)
    rows = state.store.rows("SELECT * FROM pairs WHERE visitor = ? ORDER BY number", visitor)
    of = state.limits.pairs + state.limits.catch_pairs
    open_pair = next((row for row in rows if row["answer"] is None), None)
    if open_pair is None and len(rows) >= of:
        return answer({"done": True, "of": of})
    row = open_pair or _drawn(state, test, visitor, len(rows))
    seconds = await _written(state, test, row)
    heard = min(MIN_LISTEN_SECONDS, seconds)
    found = {"pair": row["id"], "number": row["number"] + 1, "of": of}
    return answer(found | {"seconds": seconds, "hear": heard})


def _test(state: StudioState) -> Test:
    if state.test is None:
        raise Problem(404, "There is nothing to compare: the studio was started without --results.")
    return state.test


def _drawn(state: StudioState, test: Test, visitor: str, number: int) -> dict[str, Any]:
    """A new pair for a visitor; catch pairs are spread among the others."""
    random = Random(secrets.randbits(64))  # noqa: S311 (which pair comes is no secret)
    asked = state.store.rows(
        "SELECT a, b FROM pairs WHERE catch = 0 ORDER BY rowid DESC LIMIT 5000"
    )
    try:
        pair = test.draw([(row["a"], row["b"]) for row in asked], random)
    except UserError as error:
        raise Problem(404, error.what) from None
    count, catches = state.limits.pairs + state.limits.catch_pairs, state.limits.catch_pairs
    if number in {round((i + 1) * count / (catches + 1)) - 1 for i in range(catches)}:
        pair = test.catch(random)
    row = {
        "id": new_id(),
        "visitor": visitor,
        "number": number,
        "a": pair.a.key,
        "b": pair.b.key,
        "catch": int(pair.catch),
    }
    state.store.sql.execute(
        "INSERT OR IGNORE INTO pairs(id, visitor, number, a, b, catch) "
        "VALUES(:id, :visitor, :number, :a, :b, :catch)",
        row,
    )
    found = state.store.row("SELECT * FROM pairs WHERE visitor = ? AND number = ?", visitor, number)
    assert found is not None
    return found


def _place(state: StudioState, pair: str, side: str) -> Path:
    return state.store.folder / "listen" / f"{pair}-{side}.wav"


async def _written(state: StudioState, test: Test, row: dict[str, Any]) -> float:
    """Write both sides of a pair, once; its seconds."""
    items = [test.find(row[side]) for side in ("a", "b")]
    if items[0] is None or items[1] is None:
        raise Problem(410, "This pair is not here any more; reload the page.")
    pair = ClipPair(items[0], items[1], bool(row["catch"]))
    a, b = (_place(state, row["id"], side) for side in ("a", "b"))
    a.parent.mkdir(exist_ok=True, mode=0o700)
    try:
        return round(await asyncio.to_thread(write_pair, pair, a, b), 2)
    except UserError as error:
        raise Problem(410, error.what) from None


async def sound(request: Request) -> Response:
    """GET api/listen/{id}/{side}.wav."""
    state = state_of(request)
    pair = state.own("pairs", request)
    path = _place(state, pair["id"], request.path_params["side"])
    if not path.is_file():
        raise NOT_FOUND
    return FileResponse(path, media_type="audio/wav", headers={"Cache-Control": "private"})


async def rate(request: Request) -> Response:
    """POST api/listen/{id}: an answer, -2 (the first by far) to 2, or null for no answer."""
    state = state_of(request)
    pair = state.own("pairs", request)
    data = parsed(await body_of(request, 4096))
    given = data.get("answer", "") if isinstance(data, dict) else ""
    heard = data.get("heard") if isinstance(data, dict) else None
    if given is not None and (type(given) is not int or given not in ANSWERS):
        raise Problem(422, "An answer is a number from -2 to 2.")
    if not isinstance(heard, list) or len(heard) != 2 or not all(_is_number(x) for x in heard):
        raise Problem(422, "How long both were heard is missing.")
    needed = (
        min(MIN_LISTEN_SECONDS, data.get("seconds", MIN_LISTEN_SECONDS) or MIN_LISTEN_SECONDS)
        - SLACK
    )
    if given is not None and min(heard) < min(needed, MIN_LISTEN_SECONDS):
        raise Problem(422, "Please hear both first.")
    if pair["answer"] is not None:
        raise Problem(409, "This pair is answered already.")
    kept = "" if given is None else given
    state.store.sql.execute(
        "UPDATE pairs SET answer = ?, heard_s = ? WHERE id = ?",
        (kept, round(min(sum(heard), 3600), 1), pair["id"]),
    )
    for side in ("a", "b"):
        _place(state, pair["id"], side).unlink(missing_ok=True)
    return answer({})


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e6


def rows(state: StudioState) -> list[dict[str, Any]]:
    """All answers as rows of ratings.csv; listeners and pairs by numbers that say nothing."""
    found = state.store.rows("SELECT * FROM pairs WHERE answer IS NOT NULL ORDER BY rowid")
    table = []
    for row in found:
        sides = {side: row[side].rpartition("/") for side in ("a", "b")}
        item = state.test.find(row["a"]) if state.test else None
        table.append(
            {
                "listener": hashed(row["visitor"])[:16],
                "pair": row["id"],
                "a": sides["a"][0],
                "clip_a": sides["a"][2],
                "b": sides["b"][0],
                "clip_b": sides["b"][2],
                "condition": item.condition if item else "",
                "answer": str(row["answer"]),
                "catch": str(row["catch"]),
                "heard_s": row["heard_s"],
            }
        )
    return table


async def ratings(request: Request) -> Response:
    """GET api/listen/ratings.csv: for `etude table --ratings`."""
    state = state_of(request)
    state.door.operator(request)
    memory = io.StringIO()
    writer = csv.DictWriter(memory, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(state))
    headers = {"Content-Disposition": 'attachment; filename="ratings.csv"'}
    return Response(memory.getvalue(), media_type="text/csv", headers=headers)


async def statistics(request: Request) -> Response:
    """GET api/listen/statistics: how often each is preferred over real music."""
    state = state_of(request)
    state.door.operator(request)
    read = counted(rows(state))
    found = await asyncio.to_thread(preferences, read.kept)
    return answer(
        {
            "systems": [
                {
                    "system": one.system,
                    "value": one.value,
                    "low": one.low,
                    "high": one.high,
                    "ratings": one.ratings,
                }
                for one in found
            ],
            "listeners": len(read.listeners),
            "ratings": len(read.kept),
            "agreement": agreement(read.kept),
            "catches": read.catches,
            "caught": read.caught,
            "left_out": dict(read.left_out),
        }
    )
