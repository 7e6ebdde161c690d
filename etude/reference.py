"""config/README.md: the table of every key, generated from the models in etude.config."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from etude import config
from etude.config.systems import symbolic_lm
from etude.config.systems.audiolm import (
    AudioLm,
    AudioLmPytorch,
    AudioLmStages,
    Generate,
    Network,
    Stage,
)
from etude.config.systems.external import External
from etude.config.systems.symbolic_lm import SymbolicGenerate, SymbolicLm, SymbolicSampling
from etude.storage import write_text

HEAD = """# Configuration

Written by `python -m etude config --write` from `etude/config/`; do not edit.

`config/config.yaml` is the default. Lay your own file over it with
`snakemake --configfile mine.yaml`; several files are merged from left to right. What is not
named keeps its default. A misspelt key is an error that names the nearest one.

`defaults:` lies under all entries of a kind: `defaults: {corpus: {shards: 8}}` for every corpus,
`defaults: {audiolm: {...}}` for every experiment of that system. `filter: we_sharp` stands for
`{drums: reject, programs: [0, 1, 2, 3, 4, 5], min_velocity: 10}`.

Where a `source`, a `kind`, an embedding or a signal is named, `module:Class` takes your own: a
module in the folder that you run in, or on the Python path (CONTRIBUTING.md shows one of each).
"""

SECTIONS: list[tuple[str, list[type[BaseModel]]]] = [
    ("The whole", [config.Config]),
    (
        "corpora: where music comes from",
        [
            config.Music21Corpus,
            config.FolderCorpus,
            config.ArchiveCorpus,
            config.OwnCorpus,
            config.Filter,
            config.Split,
            config.Render,
        ],
    ),
    ("cuts: how audio is cut", [config.Cut]),
    (
        "tokenizers: audio or MIDI to tokens and back",
        [
            config.SemitoneBands,
            config.Mfcc,
            config.MagnitudeRvq,
            config.OnOff,
            config.Remi,
            config.Tsd,
            config.Structured,
            config.Hubert,
            config.Encodec,
            config.OwnTokenizer,
            config.Fit,
            config.SymbolicFit,
        ],
    ),
    ("pretrained: weights that others trained", [config.Pretrained]),
    ("tokens: token sets", [config.TokenSet, config.SymbolicTokenSet]),
    (
        "experiments",
        [
            AudioLm,
            External,
            AudioLmStages,
            Stage,
            Network,
            AudioLmPytorch,
            config.OwnNetwork,
            config.Training,
            config.Weights,
            Generate,
            config.Sampling,
            config.Seeds,
        ],
    ),
    (
        "experiments of the system symbolic_lm",
        [
            SymbolicLm,
            symbolic_lm.SymbolicStages,
            symbolic_lm.SymbolicStage,
            symbolic_lm.Gpt2,
            symbolic_lm.Llama,
            symbolic_lm.MusicTransformer,
            symbolic_lm.SymbolicTraining,
            symbolic_lm.Augment,
            SymbolicGenerate,
            SymbolicSampling,
        ],
    ),
    ("sweep: a grid of experiments", [config.Sweep]),
    (
        "evaluation",
        [config.Evaluation, config.Memorisation, config.SymbolicMetrics, config.Word2Vec],
    ),
    ("criteria: what an experiment must reach", [config.Criteria]),
    ("report: the page to listen and read", [config.Page]),
]


def write_reference(path: Path) -> None:
    """Write the reference table."""
    write_text(path, render_reference())


def render_reference() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for title, models in SECTIONS:
        parts.append(f"## {title}\n")
        parts += [_table(model) for model in models]
    return "\n".join(parts)


def _table(model: type[BaseModel]) -> str:
    lines = [
        f"### {model.__name__}\n",
        f"{(model.__doc__ or '').strip()}\n",
        "| key | allowed | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        cells = (f"`{name}`", _allowed(field), _default(field), field.description or "see below")
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
