"""What all sections of the configuration share."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator

from etude.errors import closest
from etude.plugins import is_plugin

__all__ = ["Composed", "Distinct", "Section", "SectionType", "UserPath", "closest", "merge"]


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay `over` upon `base`: dictionaries are merged, everything else is replaced.

    A `source`, `kind` or `system` that differs from the base's replaces the whole entry, since
    the keys of another kind mean nothing there; so does a `kind` of the user's, or a
    `backend`, where the base names none.
    """
    if is_plugin(over.get("kind")) and base.get("kind") != over["kind"]:
        return dict(over)
    if over.get("backend") is not None and base.get("backend") != over["backend"]:
        return dict(over)
    for tag in ("source", "kind", "system"):
        if tag in base and tag in over and base[tag] != over[tag]:
            return dict(over)
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


# Files that no program may fetch.
BRING = (
    "what to get and where to put it, for files that no program can fetch; with it a dry run "
    "plans while they are not there, and a run says this before anything starts"
)

# A path as a user writes it: `~` is her home.


def _not_empty(word: object) -> object:
    if word == "":  # which is ".", and nobody means that
        raise ValueError("must name a place; . is the folder that the run is in")
    return word


UserPath = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(Path.expanduser)]

OWN = "module:Class"  # stands for the word that chooses a part of the user's


def _module_class(word: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", word):
        raise ValueError(f"must be `module:Class`, as in my_module:MyClass; it is {word!r}")
    return word


ModuleClass = Annotated[str, AfterValidator(_module_class)]
Options = dict[str, Any]
OPTIONS = "passed to the class by keyword, and checked by it"


def chosen_by(tag: str) -> Discriminator:
    """Chooses a union's member by the word under `tag`; OWN where that is a `module:Class`."""

    def choose(value: Any) -> str | None:
        word = value.get(tag) if isinstance(value, dict) else getattr(value, tag, None)
        if word is None:
            return None
        return OWN if is_plugin(word) else str(word)

    choose.__name__ = tag  # pydantic's messages name it
    return Discriminator(choose)


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values are read-only."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, validate_default=True)

    def params(self, *keys: str) -> str:
        """The section, or only these keys of it, as sorted JSON for a rule's `params`.

        A rule that carries no more than what it uses does not run again when the rest changes.
        """
        values = self.model_dump(mode="json", include=set(keys) or None)
        return json.dumps(values, sort_keys=True)


SectionType = TypeVar("SectionType", bound=Section)


def _distinct(values: list[Any]) -> list[Any]:
    """Refuse what is named twice: it would be made once and counted twice."""
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ValueError(f"{twice[0]!r} is named twice")
    return values


Distinct = AfterValidator(_distinct)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


# Names of folders: macOS keeps an accent apart from its letter (NFD), keyboards do not.
Composed = AfterValidator(_composed)
