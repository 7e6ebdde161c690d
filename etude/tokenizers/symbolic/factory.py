"""Symbolic tokenizers made from settings, taught where they learn, saved and loaded."""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etude.config import SYMBOLIC_KINDS, Filter, PluginTokenizer
from etude.corpus.ingest import taken
from etude.corpus.piece_paths import piece_paths
from etude.errors import UserError
from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.plugins import is_plugin
from etude.storage import atomic_directory, read_csv, read_json
from etude.tokenizers import registry
from etude.tokenizers.fitted import CONFIG
from etude.tokenizers.symbolic.base import SymbolicTokenizer
from etude.tokenizers.symbolic.plugin import PluginSymbolicTokenizer

OWN_PIECES, OWN_SEED = 2000, 0  # what a tokenizer of the user's is given to learn from

log = logging.getLogger(__name__)


def make_tokenizer(
    settings: Any,
    rules: Filter,
    root: Path | None,
    ingest: list[Path],
    pieces: Path | None,
    folder: Path,
) -> None:
    """Write a tokenizer's folder; those that learn do so from the training split alone.

    Args:
        settings: of `tokenizers`.
        rules: the corpus's filter.
        root: where the corpus lies.
        ingest: tables of the corpus's shards.
        pieces: pieces.csv, which holds the split; with `root` and `ingest`, where it learns.
        folder: what is written.

    Raises:
        UserError: there is nothing to learn from.
    """
    tokenizer = create_symbolic_tokenizer(settings)
    if pieces is not None and root is not None and hasattr(tokenizer, "learn"):
        fit = settings.fit
        count, seed = getattr(fit, "pieces", OWN_PIECES), getattr(fit, "seed", OWN_SEED)
        tokenizer.learn(training_tables(rules, root, ingest, pieces, count, seed))
    with atomic_directory(folder) as temporary:
        tokenizer.save(temporary)
    log.info("%s: %d tokens", settings.kind, tokenizer.vocabulary)


def create_symbolic_tokenizer(settings: Any) -> Any:
    """An untaught tokenizer for a section of `tokenizers`."""
    if isinstance(settings, PluginTokenizer):
        return PluginSymbolicTokenizer(settings)
    return registry.create_tokenizer(settings)


def load_symbolic_tokenizer(folder: Path) -> SymbolicTokenizer:
    """The symbolic tokenizer in a folder.

    Raises:
        UserError: there is none, or it reads audio.
    """
    try:
        kind = read_json(folder / CONFIG)["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        kind = ""  # the registry says what is wrong
    tokenizer = (
        PluginSymbolicTokenizer.load(folder) if is_plugin(kind) else registry.load_tokenizer(folder)
    )
    if not isinstance(tokenizer, SymbolicTokenizer):
        raise UserError(
            f"the tokenizer {kind!r} reads audio, not MIDI",
            where=str(folder),
            do=f"name a symbolic one: {', '.join(SYMBOLIC_KINDS)}",
        )
    return tokenizer


def training_tables(
    rules: Filter, root: Path, ingest: list[Path], pieces: Path, count: int, seed: int
) -> Iterator[NoteTable]:
    """The notes of at most `count` training pieces, chosen by a hash of their names and the seed.

    Raises:
        UserError: the training split has no MIDI.
    """
    candidates = midi_of_training(ingest, pieces)
    chosen = heapq.nsmallest(count, candidates, key=lambda row: _rank(row["piece"], seed))
    if not chosen:
        raise UserError(
            "there is nothing to fit a tokenizer on",
            where=str(pieces),
            why="no piece of the training split is MIDI",
            do="symbolic tokenizers need MIDI files",
        )
    paths = piece_paths(root, chosen)
    for row in sorted(chosen, key=lambda row: row["piece"]):
        try:
            table = taken(rules, read_midi(paths[row["piece"]]))
        except MidiError as error:  # it has changed since ingest
            log.warning("%s: %s", row["path"], error)
            continue
        if len(table):
            yield table


def midi_of_training(ingest: list[Path], pieces: Path) -> Iterator[dict[str, str]]:
    """Piece and path of all MIDI in the training split, in the order of the tables.

    Args:
        ingest: tables of the corpus's shards.
        pieces: pieces.csv, which holds the split.
    """
    training = {row["piece"] for row in read_csv(pieces) if row["split"] == "train"}
    for table in ingest:
        for row in read_csv(table):
            if row["kind"] == "midi" and row["piece"] in training:
                yield {"piece": row["piece"], "path": row["path"]}


def _rank(piece: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{piece}".encode()).digest()
