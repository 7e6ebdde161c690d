"""Answers, and what was wrong with a request."""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

log = logging.getLogger(__name__)


class Problem(Exception):  # noqa: N818 (it is an answer, not a fault)
    """A request that is refused: a status and a sentence for whoever made it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


NOT_FOUND = Problem(404, "There is no such thing here.")
FULL = "There is no room left here. Delete something, or come back later."


def answer(data: Any, status: int = 200) -> Response:
    """JSON that no cache keeps."""
    return JSONResponse(data, status, {"Cache-Control": "no-store"})


async def refused(_: Request, error: Exception) -> Response:
    """A Problem as JSON."""
    assert isinstance(error, Problem)
    return answer({"error": error.words}, error.status)


async def failed(_: Request, error: Exception) -> Response:
    """A fault of ours: the traceback is for the log, never for the client."""
    full = isinstance(error, sqlite3.OperationalError) and "full" in str(error)
    if full or (isinstance(error, OSError) and error.errno == 28):
        return answer({"error": FULL}, 507)
    log.error("a request failed", exc_info=error)
    return answer({"error": "Something went wrong here."}, 500)


def parsed(data: bytes) -> Any:
    """A body as JSON, without NaN and infinities.

    Raises:
        Problem: it is none.
    """

    def no_number(word: str) -> None:
        raise ValueError(word)

    try:
        return json.loads(data, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise Problem(422, "This is no JSON.") from None
