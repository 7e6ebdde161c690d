"""A player's `Settings` as the controls of a form, and what a form sent back as settings.

Only keys that a control has are taken from the web: numbers, switches, one of several words, or a
short text that pydantic checks. Keys that name files, or that are the workflow's, have none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from etude import config
from etude.config import GenerateSettings
from etude.errors import UserError

MOST_TEXT = 200  # characters of a control's text
MAIN = ("temperature", "bars", "guidance")  # shown at once where there are such; others under More

Value = int | float | bool | str | None
Schema = dict[str, Any]


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes: key (with dots between sections), label, kind (number, integer, boolean, choice,
    text), help, default, optional (may be left empty), least, most, choices, main (shown at once).
    """

    key: str
    label: str
    kind: str
    help: str = ""
    default: Value = None
    optional: bool = False
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = field(default=())
    main: bool = False

    def as_json(self) -> dict[str, Any]:
        """As the page gets it."""
        return asdict(self)


def controls(settings: GenerateSettings) -> list[Control]:
    """The controls of an experiment's settings, with its own values as defaults."""
    schema = type(settings).model_json_schema()
    left_out = {"seconds", *settings.conditions, *settings.of_the_workflow}
    return list(_controls(schema, schema, settings.model_dump(mode="json"), "", left_out))


def _controls(whole: Schema, part: Schema, values: Any, before: str, left_out: set[str]) -> Any:
    for name, entry in part.get("properties", {}).items():
        key = f"{before}{name}"
        if key in left_out:
            continue
        inner = _resolved(whole, entry)
        if "properties" in inner:
            yield from _controls(whole, inner, values.get(name) or {}, f"{key}.", left_out)
        elif found := _control(key, whole, entry, values.get(name, inner.get("default"))):
            yield found


def _resolved(whole: Schema, entry: Schema) -> Schema:
    reference = entry.get("$ref", "")
    return whole["$defs"][reference.rsplit("/", 1)[1]] if reference else entry


def _control(key: str, whole: Schema, entry: Schema, default: Value) -> Control | None:
    """The control of one key; None where it is no single value, or names a file."""
    members = [_resolved(whole, e) for e in entry.get("anyOf", [_resolved(whole, entry)])]
    kept = [member for member in members if member.get("type") != "null"]
    if len(kept) != 1 or (kind := _kind(kept[0])) is None:
        return None
    member, name = kept[0], key.rsplit(".", 1)[-1]
    return Control(
        key=key,
        label=name.replace("_", " ").capitalize(),
        kind=kind,
        help=entry.get("description", ""),
        default=default,
        optional=len(members) > 1,
        least=member.get("minimum", member.get("exclusiveMinimum")),
        most=member.get("maximum", member.get("exclusiveMaximum")),
        choices=tuple(member.get("enum", ())),
        main=name in MAIN,
    )


def _kind(member: Schema) -> str | None:
    if member.get("format") in ("path", "file-path", "directory-path"):
        return None
    if "enum" in member:
        return "choice"
    kinds = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text"}
    return kinds.get(str(member.get("type")))


def laid_over(base: GenerateSettings, asked: dict[str, Value]) -> GenerateSettings:
    """An experiment's settings for one version, with what a form says.

    Raises:
        UserError: a key that has no control, or a value that is not allowed.
    """
    known = {control.key: control for control in controls(base)}
    values = base.model_dump(exclude=set(base.conditions))
    for key, value in asked.items():
        if key not in known:
            raise UserError("there is no such setting", where=key[:60], do="reload the page")
        if isinstance(value, str) and len(value) > MOST_TEXT:
            raise UserError("a text is too long", where=key, why=f"{len(value)} characters")
        *sections, name = key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        inner[name] = value
    return config.validated(type(base), values | {"clips": 1, "batch_size": 1})
