"""Routes of the nearest training music: which it is, how near, and how it sounds."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from etude.studio.nearest import NearestMusic, NotesIndex, open_index
from etude.studio.responses import NOT_FOUND, Problem, answer
from etude.studio.state import StudioState, state_of


def _index(state: StudioState, model: str) -> Any:
    """The index of a model, opened once."""
    key = f"near {model}"
    if key not in state.kept:
        instrument = state.instruments.get(model)
        state.kept[key] = open_index(instrument.exported.folder) if instrument else None
    return state.kept[key]


def _search(state: StudioState, clip: dict[str, Any]) -> NearestMusic | None:
    job = state.store.row("SELECT ask FROM jobs WHERE id = ?", clip["job"])
    index = _index(state, json.loads(job["ask"])["model"]) if job else None
    if index is None:
        raise Problem(404, "This model came without an index of what it learned from.")
    form = "mid" if isinstance(index, NotesIndex) else "wav"
    found: NearestMusic | None = index.search(
        state.store.clips / f"{clip['id']}.{form}", clip["prime"]
    )
    return found


def words(found: NearestMusic | None) -> str:
    """What is shown of the nearest training music."""
    if found is None:
        return "This is too short to compare it with the music that the model learned from."
    share = f"{100 * max(found.share, 0):.0f} %"
    of = f"Nearest in the training music: {found.piece}, from {found.start_s:.0f} s; {share} alike."
    if math.isnan(found.usual):
        return of
    real = (
        f" Of music that the model never heard half has {100 * max(found.usual, 0):.0f} % or more"
    )
    real += f", and 95 % have at most {100 * found.most:.0f} %."
    more = " This is more than usual: listen to both." if found.unusual else ""
    return of + real + more


async def near(request: Request) -> Response:
    """GET api/clips/{id}/near."""
    state = state_of(request)
    clip = state.own("clips", request)
    found = await asyncio.to_thread(_search, state, clip)
    facts: dict[str, Any] = {"words": words(found), "unusual": bool(found and found.unusual)}
    if found is not None:
        facts |= {"piece": found.piece, "sound": found.sounds, "share": round(found.share, 4)}
    return answer(facts)


async def sound(request: Request) -> Response:
    """GET api/clips/{id}/near.wav: the training music beside it, where its notes are here."""
    state = state_of(request)
    clip = state.own("clips", request)
    path = state.store.clips / f"{clip['id']}.near.wav"
    if not path.is_file():
        await asyncio.to_thread(_play, state, clip, path)
    return FileResponse(path, media_type="audio/wav")


def _play(state: StudioState, clip: dict[str, Any], path: Any) -> None:
    from etude.audio.files import write_wav
    from etude.config import CorpusBase
    from etude.midi.render import play_notes

    found = _search(state, clip)
    job = state.store.row("SELECT ask FROM jobs WHERE id = ?", clip["job"])
    model = json.loads(job["ask"])["model"] if job else ""
    index = _index(state, model)
    if found is None or not found.sounds:
        raise NOT_FOUND
    corpus = state.instruments[model].exported.corpus or CorpusBase()
    table = index.excerpt(found.piece, found.start_s)
    write_wav(path, play_notes(table, corpus), corpus.render.rate)
