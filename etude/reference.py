"""config/README.md: the table of every key, generated from the models in etude.config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from etude.config import Config
from etude.config.systems import CLASSES
from etude.storage import write_text

HEAD = """# Configuration

Written by `python -m etude config --write` from `etude/config/`; do not edit.

`config/config.yaml` is the default. Lay your own file over it with
`snakemake --configfile mine.yaml`; several files are merged from left to right. What is not
named keeps its default. A misspelt key is an error that names the nearest one.

`defaults:` lies under all entries of a kind: `defaults: {corpus: {shards: 8}}` for every corpus,
`defaults: {audiolm: {...}}` for every experiment of that system. `filter: we_sharp` stands for
`{drums: reject, programs: [0, 1, 2, 3, 4, 5], min_velocity: 10}`. `overlay: what to do` in a file
says that it is of no use alone: unless another file names what runs, Étude stops with these words.

Where a `source`, a `kind`, an embedding or a signal is named, `module:Class` takes your own: a
module in the folder that you run in, or on the Python path (CONTRIBUTING.md shows one of each).
"""

# What a section of the configuration is about, where its field does not say enough.
TITLES = {
    "corpora": "where music comes from",
    "cuts": "how audio is cut",
    "tokenizers": "audio or MIDI to tokens and back",
    "pretrained": "weights that others trained",
    "tokens": "token sets",
    "sweep": "a grid of experiments",
    "evaluation": "the metrics' protocol",
    "criteria": "what an experiment must reach",
    "report": "the page to listen and read",
}


def write_reference(path: Path) -> None:
    """Write the reference table."""
    write_text(path, render_reference())


def render_reference() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for title, models in sections():
        parts.append(f"## {title}\n")
        parts += [_table(model) for model in models]
    return "\n".join(parts)


def sections() -> Iterator[tuple[str, list[type[BaseModel]]]]:
    """All settings that the configuration reaches: a section for each of its own, and each system.

    What several reach (networks of the user's own, seeds, ...) stands where it is met first.
    """
    yield "The whole", [Config]
    seen: set[type[BaseModel]] = {Config}
    for key, field in Config.model_fields.items():
        if key == "experiments":
            for name, system in CLASSES.items():
                yield f"experiments of the system {name}", list(_reached(system, seen))
        elif models := list(_reached(field.annotation, seen)):
            yield f"{key}: {TITLES.get(key, field.description)}", models


def _reached(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The models of a type that were not seen yet: those of a union, then what each has."""
    members = [model for model in _models(annotation) if model not in seen]
    seen.update(members)
    yield from members
    for model in members:
        for field in model.model_fields.values():
            yield from _reached(field.annotation, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _table(model: type[BaseModel]) -> str:
    lines = [
        f"### {model.__name__}\n",
        f"{(model.__doc__ or '').strip()}\n",
        "| key | allowed | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        key = field.alias or name
        cells = (f"`{key}`", _allowed(field), _default(field), field.description or "see below")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _allowed(field: FieldInfo) -> str:
    return " ".join([_type(field.annotation), *_bounds(field.metadata)])


def _bounds(rules: Iterable[Any]) -> list[str]:
    """The bounds among what is said about a type."""
    found: list[str] = []
    for rule in rules:
        found += _bounds(rule.metadata) if isinstance(rule, FieldInfo) else [_bound(rule)]
    return [bound for bound in found if bound]


def _bound(rule: Any) -> str:
    for kind, sign, attribute in (
        (Ge, "≥", "ge"),
        (Gt, ">", "gt"),
        (Le, "≤", "le"),
        (Lt, "<", "lt"),
    ):
        if isinstance(rule, kind):
            return f"{sign} {getattr(rule, attribute):g}"
    return ""


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join([_type(arguments[0]), *_bounds(arguments[1:])])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    if origin is dict:
        return f"name: {_type(arguments[1])}"
    if origin in (list, tuple):
        return f"list of {_type(arguments[0])}"
    names = {"int": "whole number", "float": "number", "str": "text", "bool": "true, false"}
    return names.get(
        getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation))
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value is None or value is PydanticUndefined:  # taken from another key
        return "none"
    if isinstance(value, BaseModel):
        return "its own"
    return f"`{value}`"
