"""What jobs ask of every system, whatever its name: the heavy half.

`etude.systems.open_system(name)` opens it. Training, generation, metrics and export use these
protocols only; what a system does not say here has the defaults of `SystemBase`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from etude.clips.clip import Clip
from etude.clips.progress import Tell
from etude.config import CorpusBase, GenerateSettings, TrainedExperiment
from etude.errors import UserError

Batch = dict[str, Tensor]
Ids = NDArray[np.int64]
Wave = NDArray[np.float32]
ShouldStop = Callable[[], bool]


class Data(Protocol):
    """Items that can be asked for by number."""

    def __len__(self) -> int: ...

    def batch(self, indices: list[int], places: np.ndarray | None = None) -> Batch:
        """Tensors of these items; `places` has a random number in [0, 1) for each."""


class StageModel(Protocol):
    """The network of one stage, a `torch.nn.Module` besides."""

    shape: dict[str, Any]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean loss, and figures: `count`, what it is a mean over, and those of `figures`."""

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """What config.json holds; `tokenizers` are hashes by role."""

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """Write model.safetensors and config.json."""

    def accept(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights from elsewhere under this stage's own names."""


@dataclass(frozen=True)
class Parts:
    """Where what an experiment is made of lies; what it has not is empty or None.

    Attributes:
        packed: the token set's folder (train/, valid/, test/, info.json).
        tokenizers: fitted tokenizers' folders by role.
        models: folders of trained stages by name.
        latents: what encoding stages made of the corpus, by stage: {split}.safetensors and
            statistics.json.
        corpus: how notes are read and played (filter, render).
    """

    packed: Path | None = None
    tokenizers: Mapping[str, Path] = field(default_factory=dict)
    models: Mapping[str, Path] = field(default_factory=dict)
    latents: Mapping[str, Path] = field(default_factory=dict)
    corpus: CorpusBase | None = None

    @property
    def info(self) -> dict[str, Any]:
        """The packed token set's info.json; empty where nothing is packed."""
        from etude.storage import read_json

        return dict(read_json(self.packed / "info.json")) if self.packed else {}


@dataclass(frozen=True)
class Figure:
    """A figure of training that `loss` returns, or that is a function of the mean loss.

    Attributes:
        of_loss: where it is one: from the mean loss over the validation items.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"] = "lower"
    of_loss: Callable[[float], float] | None = None


@dataclass
class Audition:
    """What listening to a stage gave: figures, and clips (float32 [samples]) at a rate."""

    figures: dict[str, float]
    waves: list[Wave]
    rate: int


@dataclass(frozen=True)
class Conditions:
    """What clips are asked to be; a player refuses what its system's `conditions` do not have.

    Attributes:
        files: recordings or MIDI files that clips go on from, in turn.
        text: what they are to sound like.
        concept: a word that was learned.
        seconds, bars: how much is made behind the prime, in place of the settings' own length.
        tokens: of a MIDI file only the last so many are given to the model; None: as the settings
            say, 0: all.
    """

    files: tuple[Path, ...] = ()
    text: str = ""
    concept: str = ""
    seconds: float | None = None
    bars: float | None = None
    tokens: int | None = None


class Player(Protocol):
    """A trained experiment, ready to make clips.

    Attributes:
        rate: samples per second of what it plays.
        Settings: the class of its settings; commands and forms are built from it.
    """

    rate: int
    Settings: type[GenerateSettings]

    def prepare(self, settings: Any, conditions: Conditions) -> Any:
        """Read the conditions, once for all clips.

        Raises:
            UserError: one cannot be read, or means nothing to this system.
        """

    def clips(
        self,
        settings: Any,
        seed: int,
        draw: int,
        conditions: Any,
        progress: Tell,
        should_stop: ShouldStop,
    ) -> Iterator[Clip]:
        """Sample clips, batch by batch; the same arguments give the same clips.

        Args:
            seed, draw: of training (for the rows) and of generation.
            conditions: what `prepare` gave.

        Raises:
            Stopped: `should_stop` said so.
        """


@dataclass
class ClipSet:
    """Clips of a set that others are compared with, or none and the reason.

    `midi` says whether they have notes; `rate` is that of their waves.
    """

    clips: Iterable[Clip]
    rate: int
    note: str = ""
    midi: bool = False


@dataclass(frozen=True)
class Beginnings:
    """Items whose beginnings a trained stage is given, and how it goes on.

    Attributes:
        items: token sequences by set (`train`, `held_out`), each of its own length.
        lengths: of the beginnings.
        more: tokens that each is continued with.
        go_on: (prefixes [n, p], count) -> [n, count], the greedy continuation.
        note: why the stage cannot be asked; empty where it can.
    """

    items: Mapping[str, Sequence[Ids]]
    lengths: Sequence[int]
    more: int
    go_on: Callable[[Ids, int], Ids]
    note: str = ""


class SystemBase:
    """One system; a subclass says what differs."""

    title: ClassVar[str] = ""  # in cards
    items: ClassVar[str] = "items"  # what a training item is, in cards and errors

    # -------------------------------------------------------------------------------- training

    def build(
        self, experiment: Any, stage: str, parts: Parts, seed: int
    ) -> Any:  # a StageModel that is a Module
        """A freshly initialised stage; the same seed gives the same weights."""
        raise NotImplementedError

    def shape(self, experiment: Any, stage: str, parts: Parts) -> dict[str, Any]:
        """What of the data's shape decides the stage's training, for its fingerprint."""
        return {}

    def data(self, experiment: Any, stage: str, parts: Parts) -> tuple[Data, Data]:
        """Training and validation data."""
        raise NotImplementedError

    def figures(self, stage: str) -> tuple[Figure, ...]:
        """Figures of training besides the loss, in the order of history.csv."""
        return ()

    def loss_unit(self, stage: str) -> str:
        """What the loss is counted in, for curves and cards."""
        return "loss"

    def flops(self, model: nn.Module, batch: Batch) -> float:
        """FLOPs of forward and backward over a batch; 0 where they are not known."""
        return 0.0

    def audition(self, parts: Parts) -> Callable[[Any], Audition] | None:
        """Listens to a stage while it trains, where config asks for it; None: it cannot."""
        return None

    def load(self, folder: Path, parts: Parts) -> Any:
        """A trained stage from its folder, ready to use.

        Raises:
            UserError: no stage is there, or one that does not belong to these parts.
        """
        raise NotImplementedError

    def encode(self, experiment: Any, stage: str, parts: Parts, folder: Path) -> None:
        """Write what a trained stage makes of the corpus: {split}.safetensors, statistics.json."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: Any, parts: Parts) -> Player:
        """A player of the trained stages in `parts.models`."""
        raise NotImplementedError

    def baselines(
        self, experiment: TrainedExperiment, parts: Parts, real: Any, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        """The sets of `sets` of the experiment's settings.

        Args:
            real: real clips (etude.generation.baselines.Real).
        """
        return iter(())

    def card(self, player: Any) -> dict[str, Any]:
        """Rows of an exported experiment's card, besides those that all have."""
        return {}

    card_text: ClassVar[str] = ""  # what the exported experiment is, and how it is played

    # ------------------------------------------------------------------------------- evaluation

    def continuation(self, parts: Parts, settings: Any, seed: int) -> Beginnings:
        """Items and the stage that is asked (where the settings class says `continues`).

        Args:
            settings: of etude.config.Memorisation.
        """
        raise NotImplementedError

    def nats(
        self, stage: Any, windows: Sequence[tuple[str, Ids, int]]
    ) -> list[NDArray[np.float64]]:
        """Minus log probability of each scored token of (piece, ids, first scored) windows.

        Where the settings class says `likelihood`.
        """
        raise NotImplementedError

    def try_network(self, network: Any) -> None:
        """Make a network of the user's own once, as its job would.

        Raises:
            UserError: it cannot be made.
        """


def refuse(conditions: Conditions, allowed: frozenset[str], what: str) -> None:
    """Refuse conditions that mean nothing to a system.

    Args:
        allowed: the `conditions` of its settings class.
        what: the experiment or system, for the message.

    Raises:
        UserError: naming what it does take.
    """
    asked = {
        "text": bool(conditions.text),
        "concept": bool(conditions.concept),
        "recording or midi": bool(conditions.files),
    }
    for name, given in asked.items():
        if given and not allowed.intersection(name.split(" or ")):
            raise UserError(
                f"{what} does not take {name} as a condition",
                why=f"it takes: {', '.join(sorted(allowed)) or 'none, it plays from nothing'}",
                do="leave it out, or choose another experiment",
            )
