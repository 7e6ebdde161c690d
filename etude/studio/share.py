"""Routes by which a clip is taken home: a link that nobody guesses, as a QR code."""

from __future__ import annotations

import html
import io
import re

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from etude.studio.responses import NOT_FOUND, Problem, answer
from etude.studio.state import state_of

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Your music</title><link rel="icon" href="../static/icon.svg">
<link rel="stylesheet" href="../static/studio.css">
<main class="wide"><h1>Your music</h1>
<p><audio controls src="{token}/clip.wav" aria-label="Your music"></audio></p>
<p><a href="{token}/clip.wav" download>WAV</a>{notes}</p>
<p class="hint">Made by the model {model}. It stays here for {hours:g} hours.</p></main></html>
"""
ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]{1,255}(/[A-Za-z0-9._~/-]{0,200})?")


async def share(request: Request) -> Response:
    """POST api/clips/{id}/share: a link to the clip; a starred one is kept longer."""
    state = state_of(request)
    clip = state.own("clips", request)
    return answer({"path": f"take/{state.store.share(clip['id'])}"})


async def page(request: Request) -> Response:
    """GET take/{id}: a page with the clip, for whoever has the link."""
    state = state_of(request)
    clip = state.store.shared(request.path_params["id"])
    if clip is None:
        raise NOT_FOUND
    token = request.path_params["id"]
    notes = f', <a href="{token}/clip.mid" download>MIDI</a>' if clip["notes"] else ""
    job = state.store.row("SELECT ask FROM jobs WHERE id = ?", clip["job"])
    instrument = next((i for i in state.instruments.values() if job and i.id in job["ask"]), None)
    model = html.escape(instrument.exported.name) if instrument else "of this studio"
    hours = state.limits.starred_hours if clip["starred"] else state.limits.keep_hours
    return Response(
        PAGE.format(token=token, notes=notes, model=model, hours=hours),
        headers={"Cache-Control": "no-store"},
        media_type="text/html",
    )


async def file(request: Request) -> Response:
    """GET take/{id}/clip.{wav,mid}."""
    state, form = state_of(request), request.path_params["form"]
    clip = state.store.shared(request.path_params["id"])
    path = state.store.clips / f"{clip['id']}.{form}" if clip else None
    if path is None or form == "json" or not path.is_file():
        raise NOT_FOUND
    types = {"wav": "audio/wav", "mid": "audio/midi"}
    return FileResponse(path, media_type=types[form], filename=f"etude.{form}")


async def code(request: Request) -> Response:
    """GET take/{id}/qr.svg?to=ADDRESS: the link as a QR code; the page knows its own address."""
    import segno

    state, token = state_of(request), request.path_params["id"]
    own = f"{request.url.scheme}://{request.headers['host']}"
    to = request.query_params.get("to", own)
    inside = to == own or to.startswith(own + "/")
    if state.store.shared(token) is None:
        raise NOT_FOUND
    if not inside or not ADDRESS.fullmatch(to):
        raise Problem(422, "This is another address than the studio's.")
    memory = io.BytesIO()
    segno.make(f"{to}/take/{token}", error="m").save(memory, kind="svg", scale=4, border=2)
    return Response(memory.getvalue(), media_type="image/svg+xml")


async def leave(_: Request) -> Response:
    """POST api/leave: forget who this was; what was made stays until it is swept."""
    response = answer({})
    response.delete_cookie("etude", httponly=True, samesite="strict")
    return response
