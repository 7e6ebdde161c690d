"""The reference pages that are generated: config/README.md (every key, from the models in
etude.config) and docs/cli.md (every command, from its parser).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from etude.config import (
    Config,
    CorpusBase,
    Cut,
    Evaluation,
    ExperimentBase,
    FolderCorpus,
    GenerateSettings,
    Seeds,
    TrainingSettings,
)
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
module in the folder that you run in, or on the Python path
([CONTRIBUTING.md](../CONTRIBUTING.md#a-part-of-your-own) shows one of each).
"""

# The keys that most people change: where each stands, and the model and field that describe it.
USUAL: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("run", Config, "run"),
    ("corpora.NAME.path", FolderCorpus, "path"),
    ("corpora.NAME.limit", CorpusBase, "limit"),
    ("corpora.NAME.filter", CorpusBase, "filter"),
    ("corpora.NAME.split", CorpusBase, "split"),
    ("cuts.NAME.seconds", Cut, "seconds"),
    ("experiments.NAME.corpus", ExperimentBase, "corpus"),
    ("experiments.NAME.tokens", ExperimentBase, "tokens"),
    ("experiments.NAME.seeds.train", Seeds, "train"),
    ("experiments.NAME.stages.STAGE.training.steps", TrainingSettings, "steps"),
    ("experiments.NAME.stages.STAGE.training.batch_size", TrainingSettings, "batch_size"),
    ("experiments.NAME.stages.STAGE.training.learning_rate", TrainingSettings, "learning_rate"),
    ("experiments.NAME.generate.clips", GenerateSettings, "clips"),
    ("experiments.NAME.generate.seconds", GenerateSettings, "seconds"),
    ("evaluation.primary", Evaluation, "primary"),
)
USUAL_HEAD = """## The usual keys

Fifteen keys are what most people change. NAME is a name of yours, STAGE a stage of the system; an
experiment's `system` decides which other keys it has, a corpus's `source` likewise. All keys follow
below.

| key | allowed | default | meaning |
|---|---|---|---|"""
CLI_HEAD = """# Commands

Written by `python -m etude config --write` from the commands themselves; do not edit.

`python -m etude COMMAND --help` prints the same. A mistake is reported in four lines (what, where,
why, what to do) with exit status 1. The default is in brackets at the end of a description.
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


def write_reference(keys: Path, commands: Path, parser: argparse.ArgumentParser) -> None:
    """Write the tables of all keys and of all commands."""
    write_text(keys, render_reference())
    write_text(commands, render_commands(parser))


def render_reference() -> str:
    """The whole page as Markdown."""
    parts = [HEAD, _usual()]
    for title, models in sections():
        parts.append(f"## {title}\n")
        parts += [_table(model) for model in models]
    return "\n".join(parts)


def _usual() -> str:
    rows = [_row(key, model.model_fields[name]) for key, model, name in USUAL]
    return "\n".join([USUAL_HEAD, *rows, ""])


def render_commands(parser: argparse.ArgumentParser) -> str:
    """docs/cli.md: a section for each command of a parser, its options in a table."""
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001
    summaries = {action.dest: action.help or "" for action in commands._choices_actions}  # noqa: SLF001
    parts = [CLI_HEAD, "| command | what it does |", "|---|---|"]
    parts += [f"| [`{name}`](#{name}) | {summaries[name]} |" for name in commands.choices]
    for name, command in commands.choices.items():
        parts += ["", f"## {name}", "", f"{_sentence(summaries[name])}", ""]
        rows = [_option(action) for action in command._actions if action.dest != "help"]  # noqa: SLF001
        parts += ["| argument | meaning |", "|---|---|", *rows] if rows else ["No arguments."]
    return "\n".join([*parts, ""])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _option(action: argparse.Action) -> str:
    """A row: the argument as it is typed, whether it must be given, and what it does."""
    names = [f"`{name}`" for name in action.option_strings] or [f"`{action.dest}`"]
    values = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    if action.choices:
        values = f" {', '.join(map(str, action.choices))}"
    if not action.option_strings:
        values = ""
    if action.nargs in ("+", "*"):
        values += " …"
    must = "**required**; " if action.required and action.option_strings else ""
    cells = (", ".join(names) + values, must + (action.help or "").replace("%%", "%"))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def sections() -> Iterator[tuple[str, list[type[BaseModel]]]]:
    """All settings that the configuration reaches: a section for each of its own, and each system.

    What several reach (networks of the user's, seeds, ...) stands where it is met first.
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
    lines += [_row(field.alias or name, field) for name, field in model.model_fields.items()]
    return "\n".join([*lines, ""])


def _row(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", _allowed(field), _default(field), field.description or "see below")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


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
