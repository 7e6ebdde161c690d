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
from etude.config import CorpusBase, GenerateSettings
from etude.midi.notes import NoteTable
from etude.systems.conditions import Conditions

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
        """The mean loss; `count`, what it is a mean over, or `<figure>_count`; and the figures."""

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """What config.json holds; `tokenizers` are hashes by role."""

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """Write model.safetensors and config.json."""

    def accept(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights from elsewhere under this stage's own names."""


@dataclass(frozen=True)
class Parts:
    """Where the parts of an experiment are; what it lacks is empty or None.

    Attributes:
        packed: the token set's folder (train/, valid/, test/, info.json).
        tokenizers: fitted tokenizers' folders by role.
        models: folders of trained stages by name.
        latents: what encoding stages made of the corpus, by stage: {split}.safetensors and
            statistics.json; those of another experiment (`StagePlan.borrows`) by `name/stage`.
        captions: captions.csv of the corpus, for systems that learn from text.
        corpus: how notes are read and played (filter, render).
        files: the user's own files that a stage learns from (`StageSettings.files`), by name.
        pieces: pieces.csv, where the stage that encodes reads audio (`encodes_audio`).
        wav: folders of the pieces' audio, there too.
    """

    packed: Path | None = None
    tokenizers: Mapping[str, Path] = field(default_factory=dict)
    models: Mapping[str, Path] = field(default_factory=dict)
    latents: Mapping[str, Path] = field(default_factory=dict)
    captions: Path | None = None
    corpus: CorpusBase | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    pieces: Path | None = None
    wav: Sequence[Path] = ()

    @property
    def info(self) -> dict[str, Any]:
        """The packed token set's info.json; empty where nothing is packed."""
        from etude.storage import read_json

        return dict(read_json(self.packed / "info.json")) if self.packed else {}


@dataclass(frozen=True)
class TrainingMetric:
    """A figure of training that `loss` returns, or that is a function of the mean loss.

    Attributes:
        of_loss: where it is one: from the mean loss over the validation items.
        heard: of auditions; empty where there are none.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"] = "lower"
    of_loss: Callable[[float], float] | None = None
    from_audition: bool = False


@dataclass
class Audition:
    """What listening gave: figures, clips at a rate; by a figure's name clips and real ones."""

    figures: dict[str, float]
    waves: list[Wave]
    rate: int
    pairs: dict[str, tuple[list[Wave], list[Wave]]] = field(default_factory=dict)


class Player(Protocol):
    """A trained experiment, ready to make clips."""

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""

    @property
    def Settings(self) -> type[GenerateSettings]:  # noqa: N802
        """The class of its settings; commands and forms are built from it."""

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


@dataclass(frozen=True)
class Span:
    """A stretch of real music: where it begins in the audio of a piece."""

    piece: str
    start_s: float
    wav: Path

    @property
    def row(self) -> dict[str, Any]:
        """Its columns of clips.csv."""
        return {"piece": self.piece, "start_s": self.start_s}


class RealMusic(Protocol):
    """Held-out music in stretches as long as clips, and as many where there are that many."""

    @property
    def rate(self) -> int:
        """Samples per second at which clips are compared with it."""

    @property
    def spans(self) -> list[Span]:
        """The stretches."""

    def waves(self, rate: int) -> Iterator[Wave]:
        """Their sound at a rate."""


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
class Codec:
    """What every clip of a system goes through to become sound.

    Attributes:
        rate: samples per second of its waves.
        through: a wave (float32 [samples], mono) encoded and decoded; frames that are not whole
            may be lost.
    """

    rate: int
    through: Callable[[Wave], Wave]


@dataclass(frozen=True)
class Beginnings:
    """Items whose beginnings a trained stage is given, and how it goes on.

    Attributes:
        items: token sequences by set (`train`, `held_out`), each of its own length. A beginning is
            asked of the first that are long enough for it.
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
    by_length: bool = False  # the order of the table: length by length, or set by set


class SystemBase:
    """One system; a subclass says what differs."""

    title: ClassVar[str] = ""  # in cards
    items: ClassVar[str] = "items"  # what training items are called, in cards and tables
    loss_name: ClassVar[str] = "loss"  # in curves

    # -------------------------------------------------------------------------------- training

    def build(
        self, experiment: Any, stage: str, parts: Parts, seed: int
    ) -> Any:  # a StageModel that is a Module
        """A freshly initialised stage; the same seed gives the same weights."""
        raise NotImplementedError

    def take_over(self, experiment: Any, stage: str, parts: Parts, weights: Path) -> Any | None:
        """A stage as its weights from elsewhere have it; None: it is built by the settings.

        Args:
            weights: the file that `weights` names, or a folder of results/pretrained/.
        """
        return None

    def shape(self, experiment: Any, stage: str, parts: Parts) -> dict[str, Any]:
        """What of the data's shape decides the stage's training, for its fingerprint."""
        return {}

    def data(self, experiment: Any, stage: str, parts: Parts) -> tuple[Data, Data]:
        """Training and validation data."""
        raise NotImplementedError

    def figures(self, stage: str) -> tuple[TrainingMetric, ...]:
        """Figures of training besides the loss, in the order of history.csv."""
        return ()

    def loss_unit(self, stage: str) -> str:
        """What the loss is counted in, for curves and cards; nothing where it has no unit."""
        return ""

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
        """A player of the trained stages in `parts.models`.

        Outside the workflow there is no `parts.packed`, and of `parts.latents` only statistics.
        """
        raise NotImplementedError

    def bring(self, experiment: Any, rate: int, folder: Path, parts: Parts) -> int:
        """Write the clips of a system that is not trained here as a clip set; how many there are.

        Args:
            rate: samples per second of its waves.
            parts: of them corpus (how notes are played) and pieces (what it holds).

        Raises:
            UserError: none of them can be read.
        """
        raise NotImplementedError

    def baselines(
        self, experiment: Any, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        """The sets of `sets` of the experiment's settings.

        Args:
            real: held-out music to make sets of.
        """
        return iter(())

    def codec(self, parts: Parts) -> Codec | None:
        """What its clips go through, so that what they are compared with can too; None: nothing."""
        return None

    def card(self, player: Any) -> dict[str, Any]:
        """Rows of an exported experiment's card, besides those that all have."""
        return {}

    forms: ClassVar[tuple[str, ...]] = ()  # in which other programs read an experiment

    def write_form(self, experiment: Any, parts: Parts, form: str, folder: Path) -> None:
        """Write a trained experiment in one of `forms` into a folder that is there.

        Raises:
            UserError: this experiment cannot be written so.
        """
        raise NotImplementedError

    card_text: ClassVar[str] = ""  # what the exported experiment is, and how it is played
    card_tags: ClassVar[tuple[str, ...]] = ("music", "audio")

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
        """Negative log probability of each scored token of (piece, ids, first scored) windows.

        Where the settings class says `likelihood`.
        """
        raise NotImplementedError

    def encoder(self, experiment: Any, parts: Parts) -> Callable[[NoteTable], NDArray[np.float64]]:
        """Makes latents of any notes, by the stage that encodes (`latent_space` of the settings).

        Where the settings class says `latent_space`. Of a clip's notes it gives [n, d] in the order
        of time, as `encode` of the corpus (of a posterior the mean); [0, d] where they have none.
        Notes that it cannot encode raise, and cost their clip alone. Of `parts` it has packed,
        tokenizers, the encoding stages' models and latents.
        """
        raise NotImplementedError

    def note_counter(self, parts: Parts) -> Callable[[Sequence[int]], int] | None:
        """How many notes begin in some ids, for likelihoods per note; None: ids are no notes."""
        return None

    def try_network(self, network: Any) -> None:
        """Make a network of the user's once, as its job would, and try it (`trial`).

        Raises:
            UserError: it cannot be made, or gives something else than it should.
        """
