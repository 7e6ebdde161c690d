"""Routes of the room Train; for the operator alone."""

from __future__ import annotations

import asyncio
import json
import logging

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from etude.errors import UserError
from etude.studio.guard import body_of
from etude.studio.responses import NOT_FOUND, Problem, answer, parsed
from etude.studio.state import StudioState, state_of
from etude.studio.training import Choice, Trainings, curves

log = logging.getLogger(__name__)
TICK_SECONDS = 0.5
SHOWN = 20


def _trainings(request: Request) -> Trainings:
    state = state_of(request)
    state.door.operator(request)
    if state.trainings is None:
        raise Problem(404, "Nothing can be trained here: the studio was started without --train.")
    return state.trainings


async def index(request: Request) -> Response:
    """GET api/trainings: what may be trained, and what was."""
    trainings = _trainings(request)
    rows = trainings.store.rows(
        "SELECT * FROM jobs WHERE kind = 'train' ORDER BY number DESC LIMIT ?", SHOWN
    )
    keys = ("id", "state", "stage", "percent", "error")
    jobs = []
    for row in rows:
        ask = json.loads(row["ask"])
        plan = trainings.plans.get(ask["plan"])
        name = plan.name if plan else "not registered any more"
        jobs.append({key: row[key] for key in keys} | {"ask": ask, "name": name})
    if jobs and (plan := trainings.plans.get(jobs[0]["ask"]["plan"])):
        jobs[0]["curves"] = await asyncio.to_thread(curves, plan, rows[0])
    return answer({"plans": [plan.as_json() for plan in trainings.plans.values()], "jobs": jobs})


async def create(request: Request) -> Response:
    """POST api/trainings: start one; it waits until nothing else runs."""
    trainings = _trainings(request)
    visitor = state_of(request).door.operator(request)["id"]
    try:
        choice = Choice.model_validate(parsed(await body_of(request, 16_384)))
        job = trainings.begin(visitor, choice)
    except ValidationError as error:
        raise Problem(422, error.errors()[0]["msg"]) from None
    except UserError as error:
        raise Problem(422, " ".join(error.what.split())) from None
    return answer({"id": job}, 201)


async def stop(request: Request) -> Response:
    """DELETE api/trainings/{id}: stop it; its state is kept, and the same choice continues it."""
    trainings = _trainings(request)
    job = request.path_params["id"]
    if trainings.store.row("SELECT 1 FROM jobs WHERE id = ? AND kind = 'train'", job) is None:
        raise NOT_FOUND
    trainings.store.cancel(job)
    return answer({"id": job})


async def run(state: StudioState) -> None:
    """Tick until cancelled; a model that has become ready is played at once."""
    trainings = state.trainings
    if trainings is None:
        return
    try:
        while True:
            try:
                if ready := trainings.tick():
                    state.instruments[ready.id] = ready
            except Exception:
                log.exception("a training stumbled")
            await asyncio.sleep(TICK_SECONDS)
    finally:
        trainings.stop()


def routes() -> list[Route]:
    """Those of this room."""
    return [
        Route("/api/trainings", index),
        Route("/api/trainings", create, methods=["POST"]),
        Route("/api/trainings/{id:id}", stop, methods=["DELETE"]),
    ]
