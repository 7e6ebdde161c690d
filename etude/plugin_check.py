"""The parts of a user's own, each made and tried for a second: mistakes before the run.

What is tried is what a job would ask of a part, by its modality: noise through a tokenizer of
audio, a tune through one of notes, both ways, saved and loaded; a network's shapes, that no
position sees what comes later, that its cache changes nothing; an embedding and all distances.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from etude import plugins
from etude.config import Config, Evaluation, PluginCorpus, PluginNetwork, PluginTokenizer
from etude.errors import UserError
from etude.metrics.distances import METRICS, Yardstick
from etude.metrics.registry import open_distances, open_embedding, open_signals, residual_weight
from etude.metrics.samples import Clips
from etude.midi.notes import NoteTable
from etude.midi.writing import plain_table
from etude.systems import open_system
from etude.tokenizers import registry
from etude.tokenizers.symbolic.plugin import PluginSymbolicTokenizer
from etude.workflow.sources import as_names

RATE = 24000  # samples per second, for what hears clips at their own
SECONDS = 4  # of noise that a tokenizer learns from


def try_parts(settings: Config) -> list[str]:
    """Import every `module:Class` of a configuration, make it from its options and try it.

    Returns:
        The names of those that were tried; of one that cannot learn from noise that too.

    Raises:
        UserError: one cannot be imported, lacks something, does not fit its options, or gives
            something else than it should.
    """
    notes: dict[str, str] = {}
    for corpus in settings.corpora.values():
        if isinstance(corpus, PluginCorpus):
            _try_source(corpus)
    for name, tokenizer in settings.tokenizers.items():
        if isinstance(tokenizer, PluginTokenizer):
            tries = _try_symbolic if _reads_notes(settings, name) else _try_audio
            notes[tokenizer.kind] = tries(tokenizer)
    for experiment in settings.experiments.values():
        for plan in experiment.stage_plans():
            if isinstance(network := plan.settings.network, PluginNetwork):
                with plugins.blamed(network.kind, "forward"):
                    open_system(experiment.system).try_network(network)
    _try_metrics(settings.evaluation)
    names = dict.fromkeys(settings.own_parts.values())
    return [name + notes.get(name, "") for name in names]


def _try_source(corpus: PluginCorpus) -> None:
    """It is made, and what it says it reads are options of it; it is not asked to fetch."""
    plugins.instantiate(corpus.source, corpus.options, ("fetch",))
    for option in as_names(plugins.literal(corpus.source, "reads")):
        known = plugins.option_names(corpus.source)
        if option not in known:
            problem = f"`reads` names {option!r}, the options are: {', '.join(known) or 'none'}"
            raise plugins.wrong(corpus.source, "reads", problem)


# ------------------------------------------------------------------------------------ tokenizers


def _reads_notes(settings: Config, name: str) -> bool:
    """By the token sets that name a tokenizer; where none does yet, by what its class has."""
    if any(name in tokens.roles.values() for tokens in settings.tokens.values()):
        return settings.is_symbolic(name)
    return not hasattr(plugins.load_class(settings.tokenizers[name].kind), "frames")


def noise_clips(count: int, samples: int) -> torch.Tensor:
    """Waves [count, samples], always the same."""
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(0)) / 10


def tune() -> NoteTable:
    """Thirty-two quarter notes up and down."""
    onset = np.arange(32) * 480
    return plain_table(onset, np.full(32, 480), 60 + np.abs(np.arange(32) % 14 - 7))


def _learnt(name: str, learn: Callable[[], None]) -> str:
    """Empty, or why a part did not learn: what is too little for it is no mistake of it."""
    try:
        learn()
    except Exception as error:  # noqa: BLE001 (whatever it is, the run has more music)
        return (
            f" (made only: it does not learn from a few seconds: {type(error).__name__}: {error})"
        )
    return ""


def _try_audio(settings: PluginTokenizer) -> str:
    name, tokenizer = settings.kind, registry.create_tokenizer(settings)
    rate = int(tokenizer.sample_rate)
    if hasattr(tokenizer, "fit"):
        batches = iter([noise_clips(2, SECONDS * rate)] * 2)
        if note := _learnt(name, lambda: tokenizer.fit(batches)):
            return note
    wave = noise_clips(2, rate)
    with plugins.blamed(name, "encode"):
        codes = tokenizer.encode(wave)
        frames = int(tokenizer.frames(rate))
    shapes: list[tuple[int, ...]] = [(2, int(tokenizer.quantizers), frames)]
    shapes += [(2, frames)] if tokenizer.quantizers == 1 else []
    found = tuple(codes.shape)
    if found not in shapes or codes.is_floating_point():
        wanted = " or ".join(f"int64 {list(shape)}" for shape in shapes)
        got = f"{codes.dtype} {list(found)}"
        raise plugins.wrong(name, "encode", f"of waves [2, {rate}] it gave {got}, not {wanted}")
    if not 0 <= int(codes.min()) <= int(codes.max()) < tokenizer.codebook_size:
        problem = f"ids {int(codes.min())} to {int(codes.max())}, codebook_size is "
        raise plugins.wrong(name, "encode", f"it gave {problem}{tokenizer.codebook_size}")
    if hasattr(tokenizer, "decode"):
        with plugins.blamed(name, "decode"):
            back = tokenizer.decode(codes if codes.ndim == 3 else codes[:, None])
        if back.ndim != 2 or len(back) != 2:
            problem = f"of two clips it gave {list(back.shape)}, not waves [2, samples]"
            raise plugins.wrong(name, "decode", problem)
    with TemporaryDirectory() as folder:
        registry.save_tokenizer(tokenizer, settings, Path(folder))
        _same_again(
            name, lambda: registry.load_tokenizer(Path(folder)).encode(wave), codes, "tensors"
        )
    return ""


def _try_symbolic(settings: PluginTokenizer) -> str:
    name, tokenizer, table = settings.kind, PluginSymbolicTokenizer(settings), tune()
    if note := _learnt(name, lambda: tokenizer.learn(iter([table] * 4))):
        return note
    with plugins.blamed(name, "encode"):
        ids = tokenizer.encode(table)
    if not ids:
        raise plugins.wrong(name, "encode", "a tune of 32 notes gave no ids")
    with plugins.blamed(name, "decode"):
        back = tokenizer.decode(ids)
    if not isinstance(back, NoteTable) or not len(back):
        what = f"{len(back)} notes" if isinstance(back, NoteTable) else f"a {type(back).__name__}"
        raise plugins.wrong(name, "decode", f"of {len(ids)} ids it gave {what}, not a NoteTable")
    with plugins.blamed(name, "names"):
        names = len(tokenizer.names())
    if names != tokenizer.vocabulary:
        raise plugins.wrong(
            name, "names", f"{names} names, the vocabulary is {tokenizer.vocabulary}"
        )
    with plugins.blamed(name, "grammar"):
        forbidden = tokenizer.invalid_share(ids)
    if forbidden:
        raise plugins.wrong(name, "grammar", f"it forbids {forbidden:.0%} of what `encode` gives")
    with TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        load = PluginSymbolicTokenizer.load
        _same_again(name, lambda: load(Path(folder)).encode(table), ids, "state")
    return ""


def _same_again(name: str, encode: Callable[[], Any], expected: Any, kept_in: str) -> None:
    """See that a tokenizer that was saved and loaded encodes as before."""
    try:
        why = "" if np.array_equal(encode(), expected) else "it gives other ids"
    except Exception as error:  # noqa: BLE001 (what it lacks now it has learned before)
        why = f"{type(error).__name__}: {error}"
    if why:
        problem = (
            f"saved and loaded: {why}. What it learns must be in `{kept_in}`, all chance seeded"
        )
        raise plugins.wrong(name, "encode", problem)


# --------------------------------------------------------------------------------------- metrics


def _try_metrics(evaluation: Evaluation) -> None:
    """Embeddings of noise, and all distances of what they give; figures of a second of it."""
    generator = np.random.default_rng(0)
    distances = open_distances(evaluation.distances, evaluation.options)
    for name in filter(plugins.is_plugin, evaluation.embeddings):
        _score(name, _embedded(name, evaluation), generator, distances)
    wave = noise_clips(1, RATE)[0].numpy().astype(np.float64)
    for name in evaluation.signals:
        (signal,) = open_signals([name], evaluation.options).values()
        with plugins.blamed(name, "measure"):
            float(signal.measure(wave, RATE))
    for name in evaluation.distances:
        (distance,) = open_distances([name], evaluation.options).values()
        with plugins.blamed(name, "measure"):
            value = float(distance.measure(*generator.standard_normal((2, 24, 6))))
        if not np.isfinite(value):
            raise plugins.wrong(name, "measure", f"of two sets of 24 windows it gave {value}")


def _embedded(name: str, evaluation: Evaluation) -> np.ndarray:
    """Windows [n, dim] of a second of noise."""
    model = open_embedding(name, RATE, evaluation.options)
    with plugins.blamed(name, "embed"):
        found = np.asarray(model.embed(noise_clips(2, int(model.sample_rate)).numpy()), np.float64)
    if found.ndim != 3 or len(found) != 2 or found.shape[2] != model.dim or not found.shape[1]:
        wanted = f"[2, windows, {model.dim}]"
        raise plugins.wrong(
            name, "embed", f"of two clips it gave {list(found.shape)}, not {wanted}"
        )
    if not np.isfinite(found).all():
        raise plugins.wrong(name, "embed", "it gave what is no finite number for a second of noise")
    return found.reshape(-1, found.shape[2])


def _score(
    name: str, windows: np.ndarray, generator: np.random.Generator, distances: dict[str, Any]
) -> None:
    """Distances of rows of that dimension, with the class's own `components` and floor."""
    model = plugins.load_class(name)
    count = 4 * (model.components or 1) + 16
    rows = [windows.mean(0) + generator.standard_normal((count, windows.shape[1])) for _ in (0, 1)]
    reference, made = (Clips(some, np.arange(count)) for some in rows)
    with plugins.blamed(name, "components"):
        yardstick = Yardstick(
            reference, model.components, model.deviation_floor, residual_weight(name)
        )
        yardstick.own = distances
        for metric in (*METRICS, *distances):
            try:
                yardstick.measure(metric, made, count)
            except UserError:  # too few rows for that one: a row of the table says so
                continue
