"""Routes of the rooms Listen, Results and Train."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from etude.storage import read_csv
from etude.studio import listening, trainings
from etude.studio.responses import Problem, answer
from etude.studio.state import state_of

SHOWN = (
    *("experiment", "system", "clips", "metric", "embedding", "value", "ci_low", "ci_high", "n"),
    *("unit", "role", "note"),
)


async def results(request: Request) -> Response:
    """GET api/results: the rows of leaderboard.csv, and the text of fad.txt."""
    from etude.results.leaderboard import direction

    state = state_of(request)
    state.door.visitor(request)
    folder = state.results
    board = folder / "leaderboard.csv" if folder else None
    if folder is None or board is None or not board.is_file():
        raise Problem(404, "There are no results: the studio was started without --results.")
    rows = [{key: row.get(key, "") for key in SHOWN} for row in read_csv(board)]
    better = {row["metric"]: direction(row["metric"]) for row in rows}
    words = {True: "lower is better", False: "higher is better", None: ""}
    text = folder / "fad.txt"
    return answer(
        {
            "rows": rows,
            "better": {metric: words[way] for metric, way in better.items()},
            "text": text.read_text(encoding="utf-8") if text.is_file() else "",
            "report": (folder / "report/index.html").is_file(),
        }
    )


def routes() -> list[Route]:
    """Those of these rooms."""
    return [
        Route("/api/listen/next", listening.next_pair),
        Route("/api/listen/statistics", listening.statistics),
        Route("/api/listen/ratings.csv", listening.ratings),
        Route("/api/listen/{id:id}/{side:side}.wav", listening.sound),
        Route("/api/listen/{id:id}", listening.rate, methods=["POST"]),
        Route("/api/results", results),
        *trainings.routes(),
    ]
