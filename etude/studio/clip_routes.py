"""Routes of primes and clips: bring, hear, take home, star, delete."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from etude.studio.guard import body_of
from etude.studio.primes import kind_of
from etude.studio.responses import NOT_FOUND, Problem, answer, parsed
from etude.studio.state import StudioState, state_of

TYPES = {"wav": "audio/wav", "mid": "audio/midi", "json": "application/json"}
MOST_PLAYED = 2000  # notes on the keyboard
PLAYED_BYTES = 512 * 2**10
Time = Annotated[float, Field(ge=0)]
Pitch = Annotated[int, Field(ge=21, le=108)]
Velocity = Annotated[int, Field(ge=1, le=127)]


class Played(BaseModel):
    """What was played on the keyboard: [onset s, end s, pitch, velocity] each, and a tempo."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    notes: list[tuple[Time, Time, Pitch, Velocity]] = Field(min_length=1, max_length=MOST_PLAYED)
    tempo: float = Field(120, ge=30, le=300)


async def bring(request: Request) -> Response:
    """POST api/primes: a recording or a MIDI file, raw; what it is, its bytes say."""
    state = state_of(request)
    visitor = _allowed(request, state)
    data = await body_of(request, int(state.limits.upload_mb * 2**20))
    kind = kind_of(data)
    if kind == "midi" and len(data) > state.limits.midi_kb * 1024:
        raise Problem(413, f"MIDI files of up to {state.limits.midi_kb} kB are taken.")
    return await _made(state, visitor, kind, data)


async def play(request: Request) -> Response:
    """POST api/primes/notes: what was played on the keyboard."""
    state = state_of(request)
    visitor = _allowed(request, state)
    data = parsed(await body_of(request, PLAYED_BYTES))
    try:
        if isinstance(data, dict) and isinstance(data.get("notes"), list):
            data["notes"] = [tuple(n) if isinstance(n, list) else n for n in data["notes"]]
        played = Played.model_validate(data)
    except ValidationError as error:
        raise Problem(422, f"These notes cannot be used: {error.errors()[0]['msg']}.") from None
    if any(end <= onset or end > state.limits.prime_seconds for onset, end, _, _ in played.notes):
        raise Problem(422, "These notes cannot be used: a note must end after it begins.")
    return await _made(state, visitor, "notes", played.model_dump_json().encode())


def _allowed(request: Request, state: StudioState) -> str:
    visitor: str = state.door.visitor(request)["id"]
    state.room()
    state.door.count(request, visitor, state.limits.hourly, state.limits.address_hourly)
    return visitor


async def _made(state: StudioState, visitor: str, kind: str, data: bytes) -> Response:
    added = await state.decoders.prime(visitor, kind, data)
    return answer(added | _drawn(state.store.primes / added["id"]), 201)


def _drawn(place: Path) -> dict[str, Any]:
    """The peaks and notes of a prime or a clip."""
    found = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
    return {key: found[key] for key in ("peaks", "notes", "seconds")}


async def file(request: Request) -> Response:
    """GET api/{primes,clips}/{id}.{wav,mid,json}; `?download` for the disk. Ranges are served."""
    state = state_of(request)
    table, form = request.path_params["table"], request.path_params["form"]
    found = state.own(table, request)
    path = state.store.folder / table / f"{found['id']}.{form}"
    if not path.is_file() or (form == "json" and table == "primes"):
        raise NOT_FOUND
    name = (
        f"etude-{found.get('number', 0) + 1}.{form}" if "download" in request.query_params else None
    )
    headers = {"Cache-Control": "private, max-age=3600"}
    return FileResponse(path, headers=headers, media_type=TYPES[form], filename=name)


async def drawn(request: Request) -> Response:
    """GET api/{primes,clips}/{id}/view: what the page draws."""
    state = state_of(request)
    table = request.path_params["table"]
    found = state.own(table, request)
    return answer(_drawn(state.store.folder / table / found["id"]))


async def star(request: Request) -> Response:
    """PUT api/clips/{id}/star: keep it longer; DELETE: as long as the others."""
    state = state_of(request)
    clip = state.own("clips", request)
    state.store.star(clip["id"], request.method == "PUT")
    return answer({"starred": request.method == "PUT"})


async def delete(request: Request) -> Response:
    """DELETE api/{primes,clips}/{id}."""
    state = state_of(request)
    found = state.own(request.path_params["table"], request)
    state.store.remove(request.path_params["table"], [found["id"]])
    return answer({"id": found["id"]})


async def delete_all(request: Request) -> Response:
    """DELETE api/mine: all that the visitor has here."""
    state = state_of(request)
    state.store.remove_all(state.door.visitor(request)["id"])
    return answer({})


async def pack(request: Request) -> Response:
    """GET api/jobs/{id}.zip: all versions, each as WAV, MIDI and JSON."""
    state = state_of(request)
    job = state.own("jobs", request)
    clips = state.store.clips_of([job["id"]])[job["id"]]
    if not clips:
        raise NOT_FOUND
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as packed:
        for clip in clips:
            for form in TYPES:
                path = state.store.clips / f"{clip['id']}.{form}"
                if path.is_file():
                    packed.write(path, f"etude-{clip['number'] + 1}.{form}")
        ask = json.loads(job["ask"])
        for form in ("wav", "mid"):
            prime = state.store.primes / f"{ask.get('prime')}.{form}"
            if ask.get("prime") and prime.is_file():
                packed.write(prime, f"prime.{form}")
    headers = {"Content-Disposition": 'attachment; filename="etude.zip"'}
    return Response(memory.getvalue(), headers=headers, media_type="application/zip")
