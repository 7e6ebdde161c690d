"""Embeddings by name; the names are in etude/config/embeddings.py.

Read when the workflow is parsed, so the modules are imported only when they are asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from etude import plugins
from etude.config.embeddings import EMBEDDINGS, FADTK

EMBEDDING_NEEDS = ("embed", "dim", "components", "deviation_floor")
PRETRAINED = "etude.metrics.clap:Clap"
OWN_DISTANCE = "distance_"  # how metrics of the user's that compare two sets begin
Options = Mapping[str, Mapping[str, Any]]  # of the user's classes, by `module:Class`


def embedding(name: str) -> Any:
    """The class of an embedding: `embed(wave [batch, samples]) -> [batch, windows, dim]`.

    Raises:
        UserError: a `module:Class` of the user's that is not there or lacks something.

    Example:
        >>> embedding("logmel").__name__
        'LogMel'
    """
    if plugins.is_plugin(name):
        return plugins.load_class(name, EMBEDDING_NEEDS)
    # A name of `pretrained`, or one of fadtk's: the configuration has been checked.
    module, attribute = EMBEDDINGS.get(name, PRETRAINED).split(":")
    return getattr(importlib.import_module(module), attribute)


def projection(name: str) -> tuple[int | None, float]:
    """`components` and `deviation_floor` of an embedding; nothing that needs torch is imported.

    Of pretrained ones and fadtk's, distances are of the embeddings as they are.

    Example:
        >>> projection("clap-laion-audio")  # a pretrained embedding is taken as it is
        (None, 0.0)
    """
    if name not in EMBEDDINGS and not plugins.is_plugin(name):
        return None, 0.0
    model = embedding(name)
    return model.components, model.deviation_floor


def residual_weight(name: str) -> float:
    """The weight of `space.Space`'s residual for an embedding; 0 for those that have none.

    Example:
        >>> residual_weight("logmel")
        0.0
    """
    known = name in EMBEDDINGS or plugins.is_plugin(name)
    return float(getattr(embedding(name), "residual", 0.0)) if known else 0.0


def open_embedding(
    name: str, rate: int, options: Options | None = None, weights: Path | None = None
) -> Any:
    """An embedding that hears clips of this many samples per second, or at its own `sample_rate`.

    Args:
        weights: of a pretrained one, a folder of results/pretrained/; fadtk fetches its own.

    Raises:
        UserError: as `embedding`, or options that do not fit it.
    """
    if weights is not None:
        return embedding(name)(weights)
    if name in FADTK:
        return importlib.import_module("etude.metrics.fadtk_models").FadtkEmbedding(name)
    if not plugins.is_plugin(name):
        return embedding(name)(rate)
    given = (options or {}).get(name, {})
    model = plugins.instantiate(name, given, EMBEDDING_NEEDS, sample_rate=rate)
    plugins.check_attributes(model, name, ("sample_rate",))
    return model


def open_distances(names: Iterable[str], options: Options) -> dict[str, Any]:
    """The user's own distances by the name of their metric in tables, `distance_<Class>`.

    Each has `measure(reference [n, d], rows [m, d]) -> float` on windows of two sets, as every
    embedding has them (reduced as for the Fréchet distance), and a `unit`. Lower is nearer.

    Raises:
        UserError: one that is not there, lacks something, or does not fit its options.
    """
    found = _open(names, options)
    return {f"{OWN_DISTANCE}{name}": distance for name, distance in found.items()}


def open_signals(names: Iterable[str], options: Options) -> dict[str, Any]:
    """The user's own metrics on single clips by their class's name, ready to `measure`.

    Raises:
        UserError: one that is not there, lacks something, or does not fit its options.
    """
    return _open(names, options)


def _open(names: Iterable[str], options: Options) -> dict[str, Any]:
    needs = ("measure", "unit")
    return {
        plugins.plugin_label(n): plugins.instantiate(n, options.get(n, {}), needs) for n in names
    }
