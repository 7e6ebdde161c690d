"""What can be played: exported experiments, as visitors see them. Opens no network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from etude.config import GenerateSettings, StudioSettings
from etude.errors import UserError
from etude.generation.manifest import ABOUT, Manifest, read_manifest
from etude.studio import forms

ID = r"[A-Za-z0-9_-]{8,43}"  # of anything that a visitor may name
Id = Field(None, pattern=f"^{ID}$")
MOST_SEED = 2**32 - 1
SECONDS = 8.0  # of a version where nothing else is asked


class Ask(BaseModel):
    """What a visitor asks for; types are strict, and what is not here is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    model: str = Field(pattern=f"^{ID}$")
    prime: str | None = Id
    clip: str | None = Id
    text: str = Field("", max_length=400)
    concept: str = Field("", max_length=100)
    seconds: float | None = Field(None, gt=0)
    clips: int = Field(1, ge=1)
    seed: int | None = Field(None, ge=0, le=MOST_SEED)
    settings: dict[str, int | float | bool | str | None] = Field({}, max_length=40)


@dataclass(frozen=True)
class Instrument:
    """One exported experiment.

    Attributes: id (changes with the export), exported.
    """

    id: str
    exported: Manifest

    @classmethod
    def of(cls, folder: Path) -> Self:
        """That of a folder.

        Raises:
            UserError: it is no export.
        """
        exported = read_manifest(folder)
        digest = hashlib.sha256((folder / ABOUT).read_bytes()).hexdigest()
        return cls(digest[:16], exported)

    @property
    def takes(self) -> frozenset[str]:
        """The conditions of its system."""
        return self.exported.experiment.conditions

    @property
    def generate(self) -> GenerateSettings:
        """Its own settings."""
        return self.exported.experiment.generate

    @property
    def makes_notes(self) -> bool:
        """Whether its clips have notes."""
        return "notes" in self.exported.experiment.makes

    @property
    def timed(self) -> bool:
        """Whether its length is asked for in seconds; else its settings have bars."""
        return "bars" not in type(self.generate).model_fields

    @cached_property
    def controls(self) -> list[forms.Control]:
        """The controls of its form."""
        return forms.controls(self.generate)

    @property
    def concepts(self) -> list[str]:
        """The words that it has learned."""
        return list(getattr(self.exported.experiment, "concepts", ()))

    def as_json(self, limits: StudioSettings) -> dict[str, Any]:
        """As the page gets it."""
        experiment = self.exported.experiment
        return {
            "id": self.id,
            "name": self.exported.name,
            "trained_on": experiment.corpus,
            "takes": sorted(self.takes),
            "notes": self.makes_notes,
            "concepts": self.concepts,
            "seconds": min(SECONDS, limits.seconds) if self.timed else None,
            "controls": [control.as_json() for control in self.controls],
        }

    def check(self, ask: Ask, limits: StudioSettings) -> GenerateSettings:
        """The settings of a version that is asked for.

        Raises:
            UserError: something is out of range or means nothing to this model.
        """
        if ask.clips > limits.clips:
            raise UserError(f"{limits.clips} versions at most", code="too-many-clips")
        if ask.seconds is not None and ask.seconds > limits.seconds:
            raise UserError(f"{limits.seconds:g} seconds at most", code="length-out-of-range")
        if ask.seconds is not None and not self.timed:
            raise UserError("the length of this model is asked for in bars", code="length-in-bars")
        if ask.text and "text" not in self.takes:
            raise UserError("this model takes no text", code="condition-not-taken")
        if ask.concept and ask.concept not in self.concepts:
            raise UserError("this model has not learned that word", code="unknown-word")
        if ask.prime and ask.clip:
            raise UserError("a prime or a clip to continue, not both", code="conflicting-options")
        if (ask.prime or ask.clip) and not self.takes & {"midi", "recording"}:
            raise UserError("this model continues nothing", code="condition-not-taken")
        bars = ask.settings.get("bars")
        if isinstance(bars, int | float) and bars > 4 * limits.seconds:
            raise UserError("too many bars", code="length-out-of-range")
        return forms.laid_over(self.generate, dict(ask.settings))

    def file_of(self, wav: Path, midi: Path) -> Path | None:
        """Which form of a prime it takes; None: neither that is there."""
        if "midi" in self.takes and midi.is_file():
            return midi
        return wav if "recording" in self.takes and wav.is_file() else None


def find_instruments(folders: list[Path]) -> dict[str, Instrument]:
    """The exports among folders and directly inside them, by id; names are unique.

    Raises:
        UserError: there is none, or one is damaged.
    """
    found = [
        place
        for folder in folders
        for place in ([folder] if (folder / ABOUT).is_file() else sorted(folder.glob("*/")))
        if (place / ABOUT).is_file()
    ]
    if not found:
        raise UserError(
            "there is nothing to play",
            code="nothing-to-play",
            where=", ".join(map(str, folders)),
            why=f"no folder with {ABOUT} is there",
            do="name folders of `python -m etude export` with --from",
        )
    instruments = [Instrument.of(place) for place in found]
    for instrument in instruments:
        instrument.exported.check_files()
    return {instrument.id: instrument for instrument in instruments}
