"""Captions: what a piece is in words, and where the words come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from etude.config.base import Distinct, Section

CaptionSource = Literal["column", "folder", "notes", "file_name"]
NoteWord = Literal["program", "register", "tempo", "density", "mode"]


class Captions(Section):
    """What systems that take text learn from (results/corpora/{corpus}/captions.csv)."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    from_: Annotated[list[CaptionSource], Distinct] = Field(
        ["column", "folder", "notes", "file_name"],
        alias="from",
        min_length=1,
        description="where to look for a caption, in this order; the first one found is used. "
        "column: of metadata.csv; folder: the top folder that the file is in; "
        "notes: words derived from MIDI; file_name: without its suffix and what "
        "follows `[`",
    )
    column: str = Field("caption", min_length=1, description="the column of metadata.csv")
    words: Annotated[list[NoteWord], Distinct] = Field(
        ["program", "register", "tempo", "density", "mode"],
        min_length=1,
        description="what is derived from notes; average values are left out",
    )
