"""Embeddings by name; the names stand in etude/config/embeddings.py.

Read when the workflow is parsed, so the modules are imported only when they are asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from etude import own
from etude.config.embeddings import EMBEDDINGS, FADTK

EMBEDDING_NEEDS = ("embed", "dim", "components", "deviation_floor")
Options = Mapping[str, Mapping[str, Any]]  # of the user's own classes, by `module:Class`


def embedding(name: str) -> Any:
    """The class of an embedding: `embed(wave [batch, samples]) -> [batch, windows, dim]`.

    Raises:
        UserError: a `module:Class` of the user's own that is not there or lacks something.
    """
    if own.is_own(name):
        return own.load(name, EMBEDDING_NEEDS)
    module, attribute = EMBEDDINGS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def open_embedding(name: str, rate: int, options: Options | None = None) -> Any:
    """An embedding that hears clips of so many samples per second, or at its own `sample_rate`.

    Raises:
        UserError: as `embedding`, or options that do not fit it.
    """
    if not own.is_own(name):
        return embedding(name)(rate)
    given = (options or {}).get(name, {})
    model = own.create(name, given, EMBEDDING_NEEDS, sample_rate=rate)
    own.check_attributes(model, name, ("sample_rate",))
    return model


def open_signals(names: Iterable[str], options: Options) -> dict[str, Any]:
    """The user's own metrics on single clips by their class's name, ready to `measure`.

    Raises:
        UserError: one that is not there, lacks something, or does not fit its options.
    """
    needs = ("measure", "unit")
    return {own.label(n): own.create(n, options.get(n, {}), needs) for n in names}


def why_not(name: str) -> str:
    """Why an embedding cannot run here, and the command to get it; empty when it can."""
    if name in EMBEDDINGS or own.is_own(name):
        return ""
    if name in FADTK:
        return (
            "needs pretrained weights, which Étude does not fetch. In an environment of its own: "
            f"pip install fadtk && fadtk {name} <folder of reference WAVs> <folder of clips>"
        )
    return f"no embedding has this name; there are: {', '.join([*EMBEDDINGS, *FADTK])}"
