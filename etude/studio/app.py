"""The studio's routes. Every id is matched by a full regular expression before it is looked up."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import sqlite3
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from etude.studio import clip_routes, jobs, nearest_routes, page_routes, share, trainings
from etude.studio.guard import Guard, body_of
from etude.studio.instruments import ID
from etude.studio.responses import NOT_FOUND, Problem, answer, failed, parsed, refused
from etude.studio.state import StudioState, state_of

STATIC = Path(__file__).with_name("static")
PAGES = {
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}


class _Word(Convertor[str]):
    """One of several words, or an id; nothing else reaches a handler."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


for _name, _regex in (
    ("id", ID),
    ("table", "primes|clips"),
    ("form", "wav|mid|json"),
    ("side", "a|b"),
):
    register_url_convertor(_name, type(_name, (_Word,), {"regex": _regex})())


async def page(request: Request) -> Response:
    """GET /: the page; gives the cookie."""
    response = FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})
    state_of(request).door.welcome(request, response)
    return response


async def static(request: Request) -> Response:
    """GET static/...: one of the files that lie there now."""
    name = request.path_params["name"]
    path = STATIC / name
    form = name.rsplit(".", 1)[-1]
    if form not in PAGES or name not in {file.name for file in STATIC.iterdir()}:
        raise NOT_FOUND
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    data, packed = _packed(path, path.stat().st_mtime_ns)
    if "gzip" in request.headers.get("accept-encoding", ""):
        data, headers = packed, headers | {"Content-Encoding": "gzip"}
    return Response(data, headers=headers, media_type=PAGES[form])


@functools.cache
def _packed(path: Path, _: int) -> tuple[bytes, bytes]:
    """A file as it is and as packed, while it stays the same."""
    data = path.read_bytes()
    return data, gzip.compress(data, mtime=0)


async def me(request: Request) -> Response:
    """GET api/me: what this visitor may do and play."""
    state = state_of(request)
    visitor = state.door.known(request)
    if visitor is None:
        raise Problem(401, "Open the studio's page first; it needs a cookie.")
    rights = visitor["rights"]
    open_to_all = not state.door.codes["visitor"]
    models = [i.as_json(state.limits) for i in state.instruments.values()]
    return answer(
        {
            "enters": open_to_all or bool(rights),
            "operator": state.door.is_operator(request, visitor),
            "has_operator": bool(state.door.codes["operator"]),
            "limits": state.limits.model_dump(mode="json"),
            "models": models if open_to_all or rights else [],
            "listen": state.test is not None,
            "results": state.results is not None,
            "train": state.trainings is not None and state.door.is_operator(request, visitor),
            "expo": state.expo,
        }
    )


async def enter(request: Request) -> Response:
    """POST api/enter: a code."""
    data = parsed(await body_of(request, 4096))
    code = data.get("code") if isinstance(data, dict) else None
    if not isinstance(code, str):
        raise Problem(422, "A code is a text.")
    return answer({"rights": state_of(request).door.enter(request, code)})


async def health(request: Request) -> Response:
    """GET healthz: workers that run, jobs that wait."""
    state = state_of(request)
    return answer({"workers": state.queue.alive, "waiting": state.store.waiting()})


async def no_route(_: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, as JSON."""
    assert isinstance(error, HTTPException)
    words = {404: NOT_FOUND.words, 405: "This cannot be done here."}
    return answer({"error": words.get(error.status_code, error.detail)}, error.status_code)


def routes() -> list[Route]:
    """All routes."""
    return [
        Route("/", page),
        Route("/static/{name:str}", static),
        Route("/healthz", health),
        Route("/api/me", me),
        Route("/api/enter", enter, methods=["POST"]),
        Route("/api/mine", clip_routes.delete_all, methods=["DELETE"]),
        Route("/api/primes", clip_routes.bring, methods=["POST"]),
        Route("/api/primes/notes", clip_routes.play, methods=["POST"]),
        Route("/api/jobs", jobs.create, methods=["POST"]),
        Route("/api/jobs", jobs.index),
        Route("/api/jobs/{id:id}.zip", clip_routes.pack),
        Route("/api/jobs/{id:id}", jobs.one),
        Route("/api/jobs/{id:id}", jobs.cancel, methods=["DELETE"]),
        Route("/api/events", jobs.events),
        Route("/api/clips/{id:id}/star", clip_routes.star, methods=["PUT", "DELETE"]),
        Route("/api/clips/{id:id}/near", nearest_routes.near),
        Route("/api/clips/{id:id}/near.wav", nearest_routes.sound),
        Route("/api/clips/{id:id}/share", share.share, methods=["POST"]),
        Route("/api/leave", share.leave, methods=["POST"]),
        Route("/take/{id:id}", share.page),
        Route("/take/{id:id}/clip.{form:form}", share.file),
        Route("/take/{id:id}/qr.svg", share.code),
        Route("/api/{table:table}/{id:id}/view", clip_routes.drawn),
        Route("/api/{table:table}/{id:id}.{form:form}", clip_routes.file),
        Route("/api/{table:table}/{id:id}", clip_routes.delete, methods=["DELETE"]),
        *page_routes.routes(),
    ]


def application(state: StudioState, hosts: Collection[str]) -> Guard:
    """The studio as an ASGI application; its queue runs while it does.

    Args:
        hosts: names that it may be asked for by.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        running = [
            asyncio.create_task(state.queue.run()),
            asyncio.create_task(trainings.run(state)),
        ]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    # Starlette lets what `Exception` handles go on to the server, which then drops the connection;
    # a full disk is no reason for that.
    handlers: dict[Any, Any] = {Problem: refused, HTTPException: no_route, Exception: failed}
    handlers |= {OSError: failed, sqlite3.Error: failed}
    app = Starlette(routes=routes(), exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False  # an address is one of the routes, or none
    app.state.studio = state
    return Guard(app, hosts, state.limits.connections)
