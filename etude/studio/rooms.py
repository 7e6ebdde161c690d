"""Routes of the rooms Listen, Results and Train."""

from __future__ import annotations

from starlette.routing import Route


def routes() -> list[Route]:
    """Those of these rooms."""
    return []
