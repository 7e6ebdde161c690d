"""The report page: how much of a run can be heard on it."""

from __future__ import annotations

from pydantic import Field

from etude.config.base import Section


class Page(Section):
    """The report page: how much of a run is heard on it, and how much is shown at once."""

    clips: int = Field(
        6, ge=1, le=200, description="clips of a set that are shown at once; a button shows more"
    )
    media: int = Field(
        1000,
        ge=0,
        description="clips of a set that get sound and a picture (about 100 kB each); the others "
        "are listed with their figures",
    )
