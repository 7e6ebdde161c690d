"""The system `musicgen`: a codec's tokens from a text, all quantizers in one decoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from etude.config.base import Composed, Distinct, Section, UserPath, merge
from etude.config.systems.base import GenerateSettings, StageSettings, TrainedExperiment
from etude.config.systems.training import Sampling
from etude.config.tokens import TokenSet, frame_rate

if TYPE_CHECKING:
    from etude.config.whole import Config

# What training wraps captions in, so that a caption is understood in a sentence too.
TEMPLATES = (
    "{}",
    "the sound of {}",
    "music of {}",
    "a piece for {}",
    "a recording of {}",
    "{} playing",
    "music in the style of {}",
    "listen to {}",
)


class TextNetwork(Section):
    """A text encoder (T5) and a decoder of codes with cross-attention (MusicGen's classes)."""

    dim: int = Field(128, ge=8, multiple_of=2, description="width of the decoder")
    layers: int = Field(4, ge=1, description="layers of the decoder")
    heads: int = Field(4, ge=1, description="attention heads of the decoder")
    ffn: int = Field(512, ge=8, description="width of the decoder's feed-forward layers")
    text_dim: int = Field(128, ge=8, multiple_of=4, description="width of the text encoder")
    text_layers: int = Field(2, ge=1, description="layers of the text encoder, of four heads each")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the decoder and the encoder")

    @model_validator(mode="after")
    def _heads_divide(self) -> TextNetwork:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads ({self.heads})")
        return self


class TextStage(StageSettings):
    """The one trained part."""

    network: TextNetwork = TextNetwork()

    @model_validator(mode="after")
    def _what_others_have(self) -> TextStage:
        if self.training.forgetful_mask:
            raise ValueError("training.forgetful_mask is not of this system's network")
        if self.weights is not None and self.weights.pretrained and self.weights.fine_tune:
            raise ValueError(
                "weights.fine_tune: a pretrained network is taken as it is; the system "
                "textual_inversion teaches it words"
            )
        return self


TRAINING: dict[str, Any] = {
    "training": {
        "steps": 800,
        "batch_size": 16,
        "learning_rate": 1.5e-3,
        "betas": (0.9, 0.95),
        "validate_every": 100,
    }
}


class TextStages(Section):
    """What is trained, or taken from others by `weights: {pretrained: ...}`."""

    lm: TextStage = Field(description="text -> codes; 800 steps, batch 16, learning rate 1.5e-3")

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        return merge({"lm": TRAINING}, value) if isinstance(value, dict) else value


class TextGenerate(GenerateSettings):
    """The clips that are generated for listening and for the metrics."""

    conditions: ClassVar[tuple[str, ...]] = ("texts", "melody")

    texts: list[str] = Field(
        [],
        description="texts that clips are generated from, in turn; none: the captions of held-"
        "out pieces",
    )
    guidance: float = Field(3.0, ge=1, le=20, description="classifier-free guidance: 1 is none")
    hop: float | None = Field(
        None, gt=0, description="seconds a window moves on (none: half of it); the rest is context"
    )
    window: float | None = Field(
        None,
        gt=0,
        le=30,
        description="seconds that are sampled at once; longer clips continue window by window "
        "(none: as long as in training; pretrained networks: 30)",
    )
    melody: UserPath | None = Field(
        None,
        exclude_if=lambda file: file is None,  # an unused key makes nothing again
        description="a recording whose melody clips follow, by pretrained melody_to_music networks",
    )
    sampling: Sampling = Field(
        Sampling(temperature=0.7, top_k=250),
        description="by default temperature 0.7, since small networks are noisy at 1; use 1 for"
        " pretrained networks",
    )

    @property
    def primes(self) -> list[Path]:
        """The recording whose melody is followed."""
        return [] if self.melody is None else [self.melody]

    @property
    def prompted(self) -> bool:
        """Whether clips begin with what is not generated: never, a melody is only followed."""
        return False


class MusicGen(TrainedExperiment):
    """MusicGen (Copet et al., arXiv 2306.05284): text -> a codec's tokens, delayed by quantizer."""

    conditions: ClassVar[frozenset[str]] = frozenset({"text", "length"})
    judges_concepts: ClassVar[bool] = True
    reads_captions: ClassVar[bool] = True
    pretrained_kinds: ClassVar[tuple[str, ...]] = ("text_to_music", "melody_to_music")
    proves_texts: ClassVar[bool] = True
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "those real clips through the codec",
        "shuffled": "their frames of codes in random order",
        "untrained": "the network before training",
    }
    modules: ClassVar[Mapping[str, str]] = {
        "musicgen.network": "systems/musicgen/network",
        "musicgen.texts": "systems/musicgen/texts",
        "musicgen.data": "systems/musicgen/data",
        "musicgen.sampling": "systems/musicgen/sampling",
        "musicgen.melody": "systems/musicgen/melody",
        "musicgen.player": "systems/musicgen/player",
        "musicgen.asked": "systems/musicgen/concept_queries",
    }
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": ("musicgen.network", "musicgen.texts"),
        "train": ("musicgen.network", "musicgen.texts", "musicgen.data", "loop", "steps"),
        "generate": (
            *("musicgen.network", "musicgen.texts", "musicgen.sampling", "musicgen.player"),
            *("musicgen.melody", "sampling", "clips"),
        ),
        "concepts": (
            *("musicgen.network", "musicgen.texts", "musicgen.sampling", "musicgen.player"),
            *("musicgen.data", "musicgen.asked", "sampling"),
        ),
        "baselines": (
            *("musicgen.network", "musicgen.texts", "musicgen.sampling", "musicgen.player"),
            *("sampling", "clips", "baselines"),
        ),
    }
    stage_keys: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "lm": ("without_text", "without_word", "templates", "leave_out")
    }

    system: Literal["musicgen"]
    tokens: str = Field("embedded", description="a token set of audio from `tokens`")
    without_text: float = Field(
        0.1, ge=0, lt=1, description="share of training items without any text (for guidance)"
    )
    without_word: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="share of a caption's parts (between commas) that are left out each time it"
        " is read; never all of them",
    )
    templates: Annotated[list[str], Distinct] = Field(
        list(TEMPLATES),
        min_length=1,
        description="sentences around captions, one at random; {} is the caption",
    )
    leave_out: Annotated[list[Annotated[str, Composed]], Distinct] = Field(
        [],
        description="concepts (folders of the corpus) that are left out of training, to be "
        "learned later",
    )
    stages: TextStages = Field(TextStages.model_validate({}), description="network and training")
    generate: TextGenerate = TextGenerate()

    @model_validator(mode="after")
    def _templates_have_a_place(self) -> MusicGen:
        check_templates(self.templates, "templates")
        return self

    def check(self, where: str, config: Config) -> None:  # noqa: D102
        check_tokens(where, self.tokens, config)

    def positions(self, config: Config) -> float:  # noqa: D102
        return positions(self, self.stages.lm.training.items_seen, config)


def check_templates(templates: list[str], where: str) -> None:
    """See that each has one place for the caption.

    Raises:
        ValueError: naming one that has not.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"{where}: {template!r} must have {{}} once, for the caption")


def check_tokens(where: str, tokens: str, config: Config) -> None:
    """See that a token set is of audio.

    Raises:
        ValueError: it is symbolic.
    """
    if not isinstance(config.tokens[tokens], TokenSet):
        raise ValueError(  # noqa: TRY004 (pydantic turns it into a row)
            f"{where}.tokens: {tokens!r} is symbolic; needed is a token set of audio "
            "(a cut, a semantic and an acoustic tokenizer)"
        )


def positions(experiment: TrainedExperiment, items: int, config: Config) -> float:
    """Positions that a number of segments has: frames, and what the delay adds to them."""
    tokens = config.audio_tokens(experiment.tokens)
    acoustic = config.tokenizers[tokens.acoustic]
    frames = config.cuts[tokens.cut].seconds * frame_rate(acoustic)
    return items * (frames + getattr(acoustic, "quantizers", 1) - 1)
