"""A symbolic tokenizer of the user's, behind Étude's interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from etude.config import PluginTokenizer
from etude.errors import UserError
from etude.midi.notes import NoteTable
from etude.plugins import check_attributes, instantiate, module_file, plugin_digest
from etude.storage import read_json, write_json
from etude.tokenizers.fitted import CONFIG
from etude.tokenizers.symbolic.base import Grammar, SymbolicTokenizer

STATE = "state.json"
METHODS, ATTRIBUTES = ("encode", "decode"), ("vocabulary", "pad")


class PluginSymbolicTokenizer(SymbolicTokenizer):
    """What the class has is asked of it; what it lacks (grammar, names) is the plainest there is.

    The class: `encode(table) -> ids`, `decode(ids) -> table`, attributes `vocabulary` and `pad`;
    if it likes `bos`, `eos`, `unknown`, `names()`, `grammar()`, and `fit(tables)`, which may leave
    what it learnt in `state` (anything that JSON holds), where it is again when it is loaded.
    """

    version = 1

    def __init__(self, settings: PluginTokenizer) -> None:
        super().__init__(settings)
        self.own: Any = instantiate(settings.kind, settings.options, METHODS)
        check_attributes(self.own, settings.kind, ATTRIBUTES)
        self._read()

    def _read(self) -> None:
        self.vocabulary, self.pad = int(self.own.vocabulary), int(self.own.pad)
        for name in ("bos", "eos", "unknown"):
            setattr(self, name, getattr(self.own, name, None))
        self.ticks_per_quarter = int(getattr(self.own, "ticks_per_quarter", 480))

    def encode(self, table: NoteTable) -> list[int]:
        """The class's own ids.

        Raises:
            UserError: one of them is not in the vocabulary.
        """
        ids = [int(i) for i in self.own.encode(table)]
        if ids and not 0 <= min(ids) <= max(ids) < self.vocabulary:
            raise UserError(
                f"a tokenizer of your own gave an id outside of 0 ... {self.vocabulary - 1}",
                code="token-out-of-range",
                where=str(module_file(self.settings.kind)),
                why=f"`encode` gave {min(ids)} to {max(ids)}",
                do="fix `encode`, or set `vocabulary` to the number of ids",
            )
        return ids

    def decode(self, ids: Sequence[int]) -> NoteTable:
        """The class's own notes."""
        table: NoteTable = self.own.decode(list(ids))
        return table

    def names(self) -> list[str]:
        """The class's own, or the numbers."""
        if hasattr(self.own, "names"):
            return list(self.own.names())
        return list(map(str, range(self.vocabulary)))

    def grammar(self) -> Grammar:
        """The class's own, or one that allows all but padding."""
        if hasattr(self.own, "grammar"):
            found: Grammar = self.own.grammar()
            return found
        return AnyGrammar(self.vocabulary, self.pad)

    def invalid_share(self, ids: Sequence[int], prompt: Sequence[int] = ()) -> float:
        """By the grammar, one token after the other."""
        grammar = self.grammar()
        state, wrong = grammar.start(1), 0
        for place, i in enumerate([*prompt, *ids]):
            wrong += place >= len(prompt) and not bool(grammar.allowed(state)[0, i])
            state = grammar.advance(state, torch.tensor([i]))
        return wrong / len(ids) if len(ids) else 0.0

    def learn(self, tables: Iterable[NoteTable]) -> None:
        """Hand the training split to the class's `fit`, where it has one."""
        if hasattr(self.own, "fit"):
            self.own.fit(tables)
            self._read()

    def save(self, folder: Path) -> None:
        """Write config.json, and state.json where there is a state."""
        own = {"options": self.settings.options, "module": plugin_digest(self.settings.kind)}
        write_json(folder / CONFIG, self.describe() | own)
        if getattr(self.own, "state", None) is not None:
            write_json(folder / STATE, self.own.state)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Make it again from its options and state."""
        config = read_json(folder / CONFIG)
        tokenizer = cls(PluginTokenizer(kind=config["kind"], options=config["options"]))
        if (folder / STATE).is_file():
            tokenizer.own.state = read_json(folder / STATE)
            tokenizer._read()
        return tokenizer


class AnyGrammar:
    """Everything may follow everything."""

    def __init__(self, vocabulary: int, pad: int) -> None:
        self.row = torch.ones(vocabulary, dtype=torch.bool)
        self.row[pad] = False

    def start(self, batch: int, device: Any = "cpu") -> Tensor:
        """Nothing to remember."""
        return torch.zeros(batch, 0, device=device)

    def advance(self, state: Tensor, ids: Tensor) -> Tensor:
        """Nothing to remember."""
        return state

    def allowed(self, state: Tensor) -> Tensor:
        """[batch, vocabulary]."""
        return self.row.to(state.device).expand(len(state), -1)
