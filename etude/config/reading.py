"""Reading the configuration, and saying in a user's words what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Tag, TypeAdapter, ValidationError

from etude.config.base import OWN, SectionType, closest, merge
from etude.config.corpora import Filter
from etude.config.sweeps import expand
from etude.config.systems import CLASSES
from etude.config.whole import Config
from etude.errors import UserError
from etude.plugins import check_plugin

DEFAULT = Path(__file__).resolve().parents[2] / "config" / "config.yaml"


def load_config(raw: dict[str, Any]) -> Config:
    """Check a configuration as read from YAML.

    `defaults: {audiolm: {...}}` (by system) and `defaults: {corpus: {...}}` lie under every
    experiment and corpus, so that a preset can change what the user's own entries do not name.
    `sweep` adds its experiments; every `module:Class` is looked up, and nothing is imported.

    Raises:
        UserError: naming the key, what is allowed there and the nearest match; or a module or class
            of the user's that is not there.
    """
    raw = dict(raw)
    defaults = raw.pop("defaults", {}) or {}
    if not isinstance(defaults, dict):
        raise UserError("`defaults` must hold keys", where="the configuration")
    known = ("corpus", *CLASSES)
    for name in defaults:
        if name not in known:
            raise UserError(
                f"unknown key `defaults.{name}`{closest(name, known)}",
                where="the configuration",
                do=f"use one of: {', '.join(known)}",
            )
        if not isinstance(defaults[name] or {}, dict):
            raise UserError(
                f"`defaults.{name}` must hold keys, it is {defaults[name]!r}",
                where="the configuration",
                do=f"write `defaults: {{{name}: {{key: value}}}}`",
            )
    for section, under in (("corpora", _of_corpus), ("experiments", _of_system)):
        if isinstance(raw.get(section), dict):
            raw[section] = {n: under(defaults, entry) for n, entry in raw[section].items()}
    raw = expand(raw)
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise UserError(
            "the configuration is not valid:\n" + "\n".join(_explain(error)),
            where="config/config.yaml and the files laid over it with --configfile",
            do="fix the keys named above; config/README.md lists every key",
        ) from None
    for key, name in config.own_parts.items():
        check_plugin(name, key)
    return config


def _of_corpus(defaults: dict[str, Any], entry: Any) -> Any:
    return merge(defaults.get("corpus") or {}, entry) if isinstance(entry, dict) else entry


def _of_system(defaults: dict[str, Any], entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return merge(defaults.get(str(entry.get("system"))) or {}, entry)


def read(*paths: Path | str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read YAML files, each laid over the one before, and check the result.

    The workflow and the commands beside it read the same files by this one function. It differs
    from Snakemake's own merging in that another `source`, `kind` or `system` replaces an entry.

    Args:
        paths: the default first.
        overrides: laid over all files; what Snakemake's `--config` was given.

    Raises:
        UserError: a file cannot be read or holds no keys, or is an `overlay` and nothing says what
            it lies over; and as `load_config`.
    """
    files = {path: _read_yaml(path) for path in paths}
    overlays = {path: str(keys.pop("overlay")) for path, keys in files.items() if "overlay" in keys}
    laid_over = [*list(files.values())[1:], dict(overrides or {})]
    if overlays and not any("run" in keys for keys in laid_over):
        path, meant = next(iter(overlays.items()))
        raise UserError(
            "this file is laid over others, and there are none",
            where=str(path),
            why="it does not say what runs, so it would change the demo",
            do=meant,
        )
    raw: dict[str, Any] = {}
    for keys in (*files.values(), dict(overrides or {})):
        raw = merge(raw, keys)
    return load_config(raw)


def _read_yaml(path: Path | str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        why = "" if isinstance(data, dict) else f"it holds no keys but {data!r:.60}"
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = str(error)
    if why:
        raise UserError(
            "a configuration file cannot be read",
            where=str(path),
            why=why,
            do="check the path and the YAML syntax",
        )
    return dict(data)


def validated(section: type[SectionType], values: dict[str, Any]) -> SectionType:
    """A section from values that a user gave on the command line.

    Raises:
        UserError: naming the option and what is allowed.
    """
    try:
        return section(**values)
    except ValidationError as error:
        raise UserError(
            "an option is not allowed:\n" + "\n".join(_explain(error)), do="see --help"
        ) from None


def parse_section(section: Any, text: str) -> Any:
    """Read back what `Section.params` wrote (adapters get their settings so)."""
    return TypeAdapter(section).validate_json(text)


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        if _is_other_member(item):
            continue
        location = _written(item["loc"])
        key = ".".join(location)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            allowed = _keys_at(item["loc"][:-1])
            near = closest(location[-1], allowed)
            message = f"unknown key{near}; allowed here: {', '.join(allowed)}"
        elif item["type"] == "union_tag_invalid":
            message = f"must be one of {item['ctx']['expected_tags']}" + _nearest_value(item)
        elif item["type"] == "union_tag_not_found":
            tag = item["ctx"]["discriminator"].strip("'()")
            message = f"`{tag}` must be named (it is {item['input']!r:.80})"
        elif item["type"] == "literal_error":
            message += _nearest_value(item)
        elif item["type"] not in ("missing", "value_error"):
            message += f" (it is {item['input']!r})"
        lines.append(f"  {key}: {message}" if key else f"  {message}")
    return lines


def _nearest_value(item: Any) -> str:
    """What stands there and which of the allowed words is near to it."""
    context = item["ctx"]
    value = context.get("tag", item["input"])
    expected = context.get("expected_tags") or context["expected"]
    near = closest(value, re.findall(r"'([^']*)'", expected))
    return f" (it is {value!r}){near}"


def _is_other_member(item: Any) -> bool:
    """Whether an error is of a member of a union that a user did not mean.

    `filter` is a word or keys: of a word that is not known the word is said, of keys the keys.
    """
    member = str(item["loc"][-1]) if item["loc"] else ""
    if member.startswith("literal["):
        return isinstance(item["input"], dict)
    return member == "Filter" and isinstance(item["input"], str)


def _written(location: tuple[Any, ...]) -> list[str]:
    """The location as a user would write it: pydantic adds which member of a union it chose."""
    words = [str(part) for part in location]
    chosen = [i for i, word in enumerate(words) if i > 1 and word in (*_MEMBERS, OWN)]
    return [w for i, w in enumerate(words) if i not in chosen and not w.startswith("literal[")]


def _members(annotation: Any, tag: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """(the word that chooses it, the class) of every member of a union below an annotation."""
    for rule in getattr(annotation, "__metadata__", ()):
        tag = rule.tag if isinstance(rule, Tag) else tag
    if _is_model(annotation):
        if tag:
            yield tag, annotation
        for name, field in annotation.model_fields.items():
            literal = get_args(field.annotation) if name in CHOOSES else ()
            if len(literal) == 1 and isinstance(literal[0], str):
                yield literal[0], annotation
            yield from _members(field.annotation)
            for rule in field.metadata:
                if isinstance(rule, Tag):
                    yield rule.tag, field.annotation
    for inner in get_args(annotation):
        yield from _members(inner, tag)


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed at a location of pydantic's error."""
    model: Any = Config
    for part in location:
        if part == OWN:
            model = _OWN[str(location[0])]
        elif part in _MEMBERS and part not in getattr(model, "model_fields", {}):
            model = _MEMBERS[part]
        elif (
            isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields
        ):
            annotation = model.model_fields[part].annotation
            classes = [a for a in (annotation, *get_args(annotation)) if _is_model(a)]
            model = classes[0] if classes else annotation
    if not _is_model(model):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


CHOOSES = ("source", "kind", "system", "backend")  # keys that choose a union's member
_MEMBERS = {"Filter": Filter} | dict(_members(Config))
_MEMBERS.pop(OWN)
# The class that stands for a `module:Class` in each section.
_OWN = {
    section: dict(_members(Config.model_fields[section].annotation))[OWN]
    for section in ("corpora", "tokenizers", "experiments")
}
