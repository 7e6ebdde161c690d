"""The settings of a system as options of a command, named as the keys are.

`--concepts a b`, `--stages.concept.training.steps 200`, `--generate.seconds 5`. Keys of `training`
also stand alone, as in `--steps 200`, and then hold for every stage.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from etude.config import TrainingSettings, merge
from etude.config.systems import CLASSES
from etude.errors import UserError

FIXED = ("system", "corpus")  # keys that the command has options of its own for


def named_system(arguments: list[str]) -> str:
    """The system that a command line names, before it is parsed; empty where it names none."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "--system":
            return following
        if word.startswith("--system="):
            return word.partition("=")[2]
    return ""


def leaves(section: type[BaseModel], below: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted name, field) of every key of a section that is no section itself."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{below}{name}.")
        elif f"{below}{name}" not in FIXED:
            yield f"{below}{name}", field


def add_options(parser: argparse.ArgumentParser, system: str) -> None:
    """Add an option for every key of a system; those of another system are unknown."""
    found = CLASSES[system]
    group = parser.add_argument_group(f"keys of {system}", "config/README.md has their defaults")
    names = found.one_line.names
    own = {name: field for name, field in leaves(found) if name not in names}
    for name, field in own.items():
        other = [f"--{short}" for short, key in names.items() if key == name]
        _add(group, [f"--{name}", *other], name, field)
    if found.trained:
        every = parser.add_argument_group("keys of `training`, for every stage")
        for name, field in leaves(TrainingSettings):
            if name not in own:
                _add(every, [f"--{name}"], f"*.{name}", field)


def _add(group: Any, names: list[str], key: str, field: FieldInfo) -> None:
    listed = get_origin(field.annotation) is list
    group.add_argument(
        *names,
        dest=f"key {key}",
        metavar="X",
        default=None,
        help=(field.description or "").replace("%", "%%") or None,
        **({"nargs": "+"} if listed else {}),
    )


def keys_of(options: argparse.Namespace, stages: list[str]) -> dict[str, Any]:
    """The keys that options gave, as the configuration has them.

    Args:
        stages: names of the system's stages, for keys that hold for every one of them.

    Raises:
        UserError: a value is no YAML.
    """
    found: dict[str, Any] = {}
    for option, given in vars(options).items():
        if not option.startswith("key ") or given is None:
            continue
        key, value = option.removeprefix("key "), _value(option, given)
        if key.startswith("*."):
            every = {s: {"training": {key.removeprefix("*."): value}} for s in stages}
            found = merge({"stages": every}, found)  # what is named of a stage counts more
            continue
        for part in reversed(key.split(".")):
            value = {part: value}
        found = merge(found, value)
    return found


def _value(option: str, given: str | list[str]) -> Any:
    if isinstance(given, list):
        return [_value(option, word) for word in given]
    try:
        return yaml.safe_load(given)
    except yaml.YAMLError:
        raise UserError(
            f"a value cannot be read: {given}",
            where="--" + option.removeprefix("key ").removeprefix("*."),
            do="write it as YAML: a number, a word, {key: value}",
        ) from None
