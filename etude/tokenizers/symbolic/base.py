"""What a symbolic tokenizer is to the rest of the system.

Everything downstream reads only what stands here. Ids are plain integers in 0 ... vocabulary - 1;
a note table comes in with any resolution and goes out with the tokenizer's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from torch import Tensor

from etude.config import Filter
from etude.corpus.ingest import taken
from etude.errors import UserError
from etude.midi.notes import DRUMS, NoteTable, parse_midi
from etude.storage import read_json, write_json
from etude.tokenizers.fitted import CONFIG
from etude.tokenizers.symbolic.account import ACCOUNT, account


class Grammar(Protocol):
    """Which tokens may follow, for a batch of sequences at once; states are tensors."""

    def start(self, batch: int, device: Any = "cpu") -> Tensor:
        """The states before anything is heard: [batch, ...]."""
        ...

    def advance(self, state: Tensor, ids: Tensor) -> Tensor:
        """The states after one more token each (int64 [batch]); `state` is not changed."""
        ...

    def allowed(self, state: Tensor) -> Tensor:
        """Which ids may come next: bool [batch, vocabulary]; in each row at least one."""
        ...


@dataclass
class Encoded:
    """A piece as tokens.

    Attributes: ids (by transposition in semitones, without BOS and EOS), counts (columns of the
    table of pieces), statistics ((statistic, key) -> count, summed over pieces), files (name
    ending -> text, where they are asked for).
    """

    ids: dict[int, list[int]]
    counts: dict[str, int] = field(default_factory=dict)
    statistics: dict[tuple[str, str], int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


class SymbolicTokenizer(ABC):
    """A tokenizer of note tables whose state is its settings, and what byte pairs it learnt.

    Attributes: vocabulary (how many ids), pad, bos, eos, unknown (ids, or None where there is no
    such token; `pad` there always is), ticks_per_quarter (of decoded tables).
    """

    version: ClassVar[int]  # raised when equal music would give other tokens
    settings_class: ClassVar[Any]
    count_columns: tuple[str, ...] = (*ACCOUNT, "tokens")  # what `encode_file` counts
    exact_windows: bool = False  # keep untransposed windows of full length only, as a seed does
    vocabulary: int
    pad: int
    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    ticks_per_quarter: int

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abstractmethod
    def encode(self, table: NoteTable) -> list[int]:
        """The ids of a piece, without BOS and EOS."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> NoteTable:
        """The notes of any ids: what makes no sense is passed over, nothing is left hanging."""

    @abstractmethod
    def grammar(self) -> Grammar:
        """Which tokens may follow which."""

    @abstractmethod
    def invalid_share(self, ids: Sequence[int], prompt: Sequence[int] = ()) -> float:
        """The share of ids that the grammar forbids where they stand; 0.0 for none at all.

        Args:
            prompt: what came before, which is not judged.
        """

    @abstractmethod
    def names(self) -> list[str]:
        """A readable name for each id."""

    def encode_file(
        self,
        data: bytes,
        rules: Filter,
        transpositions: Sequence[int] = (0,),
        max_seconds: float | None = None,
        files: bool = False,
    ) -> Encoded:
        """The ids of a MIDI file, with the corpus's filter, at each transposition.

        Raises:
            MidiError: it cannot be read.
        """
        whole = parse_midi(data)
        rules_taken = taken(rules, whole)
        begun = begun_before(rules_taken, max_seconds)
        table, moved = self.prepared(begun, data)
        ids = {shift: self.encode(transposed(table, shift)) for shift in transpositions}
        untransposed = ids[0] if 0 in ids else self.encode(table)
        lost = {"out_of_range": len(begun) - len(table)}
        for reason, count in self.losses(table, untransposed).items():
            lost[reason] = lost.get(reason, 0) + count
        counts = account(
            len(whole),
            self.notes_in(untransposed),
            drums=len(whole) - len(rules_taken),
            beyond_max_seconds=len(rules_taken) - len(begun),
            **lost,
        )
        counts |= {"tokens": len(untransposed)} | self.measured(table, moved)
        texts = self.files(untransposed) if files else {}
        return Encoded(ids, counts, histograms(table), texts)

    def files(self, ids: Sequence[int]) -> dict[str, str]:
        """What `write_events` writes of a piece: name ending -> text."""
        return {}

    def prepared(self, table: NoteTable, data: bytes) -> tuple[NoteTable, int]:
        """A piece as it is to be encoded, and the semitones that it was moved by for that.

        `encode` and `decode` leave a piece in its key; who encodes a file asks for this first.

        Args:
            data: the bytes of the file.
        """
        return table, 0

    def measured(self, table: NoteTable, moved: int) -> dict[str, int]:
        """More columns of the table of pieces, about a piece that is `prepared`."""
        return {}

    def notes_in(self, ids: Sequence[int]) -> int:
        """How many notes begin in some ids."""
        return len(self.decode(ids))

    def losses(self, table: NoteTable, ids: Sequence[int]) -> dict[str, int]:
        """Why notes of a table are not in its ids: REASONS of `account`, without `lost_`."""
        return {"unsaid": len(table) - self.notes_in(ids)}

    def describe(self) -> dict[str, Any]:
        """What the rest of the system reads, for config.json and for packed data."""
        return {
            "kind": self.settings.kind,
            "version": self.version,
            "settings": self.settings.model_dump(mode="json"),
            "vocabulary": self.vocabulary,
            "pad": self.pad,
            "bos": self.bos,
            "eos": self.eos,
            "unknown": self.unknown,
        }

    def save(self, folder: Path) -> None:
        """Write config.json (and what else is needed) into an existing folder."""
        write_json(folder / CONFIG, self.describe())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved tokenizer.

        Raises:
            UserError: another version of the tokenizer wrote it.
        """
        config = read_json(folder / CONFIG)
        if config["version"] != cls.version:
            raise UserError(
                "a tokenizer is of another version",
                where=str(folder),
                why=f"it is version {config['version']}, this program has {cls.version}",
                do="delete that folder and run the workflow again",
            )
        return cls(cls.settings_class.model_validate(config["settings"]))


def transposed(table: NoteTable, semitones: int) -> NoteTable:
    """Pitched notes moved by semitones, drums as they are; notes that leave MIDI's range drop.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> scale = plain_table(np.array([0, 480]), np.array([480, 480]), np.array([60, 62]))
        >>> transposed(scale, 2).pitch.tolist()
        [62, 64]
    """
    if not semitones:
        return table
    pitch = table.pitch + np.where(table.program == DRUMS, 0, semitones).astype(np.int16)
    moved = replace(table, pitch=pitch.astype(np.int16))
    moved = moved.at((pitch >= 0) & (pitch <= 127))
    return moved.at(moved.order())


def histograms(table: NoteTable) -> dict[tuple[str, str], int]:
    """Notes by pitch (drums left out) and by velocity.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> histograms(plain_table(np.arange(2), np.full(2, 480), np.array([60, 60])))
        {('pitch', '60'): 2, ('velocity', '80'): 2}
    """
    found: dict[tuple[str, str], int] = {}
    columns = {"pitch": table.without_drums().pitch, "velocity": table.velocity}
    for name, values in columns.items():
        counts = np.bincount(values, minlength=1)
        found |= {(name, str(i)): int(counts[i]) for i in np.flatnonzero(counts)}
    return found


def begun_before(table: NoteTable, seconds: float | None) -> NoteTable:
    """The notes that begin before a time; all for None.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> scale = plain_table(np.array([0, 480]), np.array([480, 480]), np.array([60, 62]))
        >>> len(begun_before(scale, 0.4)), len(begun_before(scale, None))
        (1, 2)
    """
    return table if seconds is None else table.at(table.onset_s < seconds)
