"""The system `symbolic_lm`: one language model of music as symbols, over any tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, Tag, field_serializer, model_validator

from etude.config.base import OWN, Section, UserPath, chosen_by, merge
from etude.config.networks import PluginNetwork
from etude.config.symbolic_tokens import SymbolicTokenSet
from etude.config.systems.base import (
    RIVALS_WITH_NOTES,
    GenerateSettings,
    OneLine,
    StageSettings,
    TrainedExperiment,
    known,
)
from etude.config.systems.training import Sampling, TrainingSettings

if TYPE_CHECKING:
    from etude.config.whole import Config


class _Decoder(Section):
    """What the decoders have in common; the sizes are small, those of papers are in presets."""

    layers: int = Field(3, ge=1, description="layers")
    heads: int = Field(4, ge=1, description="attention heads")
    dim: int = Field(128, ge=8, description="width")
    feed_forward: int | None = Field(
        None, ge=1, description="width of the feed-forward part (none: 4 x dim)"
    )

    @property
    def inner(self) -> int:
        """Width of the feed-forward part."""
        return self.feed_forward or 4 * self.dim

    @model_validator(mode="after")
    def _heads_divide(self) -> _Decoder:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 x heads ({2 * self.heads})")
        return self


class Gpt2(_Decoder):
    """GPT-2 as transformers has it."""

    kind: Literal["gpt2"]
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout everywhere")


class Llama(_Decoder):
    """Llama as transformers has it."""

    kind: Literal["llama"]
    key_value_heads: int | None = Field(
        None, ge=1, description="heads of keys and values, a divisor of `heads` (none: equal to it)"
    )
    rope_base: float = Field(10000.0, gt=1, description="base of the rotary embedding")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="dropout of attention weights")

    @model_validator(mode="after")
    def _groups_are_equal(self) -> Llama:
        if self.key_value_heads and self.heads % self.key_value_heads:
            raise ValueError(
                f"key_value_heads {self.key_value_heads} must divide heads {self.heads}"
            )
        return self


class MusicTransformer(_Decoder):
    """Music Transformer: relative attention over all of the context, post-norm, ReLU."""

    kind: Literal["music_transformer"]
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout everywhere")


SymbolicNetwork = Annotated[
    Annotated[Gpt2, Tag("gpt2")]
    | Annotated[Llama, Tag("llama")]
    | Annotated[MusicTransformer, Tag("music_transformer")]
    | Annotated[PluginNetwork, Tag(OWN)],
    chosen_by("kind"),
]


class Augment(Section):
    """What is changed at random in training sequences; nothing by default."""

    share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of sequences whose pitch is moved; the same share for velocity",
    )
    pitch: int = Field(12, ge=0, le=48, description="semitones up or down, at most")
    velocity: int = Field(4, ge=0, le=127, description="velocity up or down, at most (MIDI)")


class SymbolicTraining(TrainingSettings):
    """How the model is trained; counted in steps, never in seconds."""

    sequences: Literal["windowed", "packed"] = Field(
        "windowed",
        description="windowed: one window per row, padded; packed: windows joined in rows "
        "without padding (give the token set a stride equal to its window)",
    )
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _nothing_is_heard_or_hidden(self) -> SymbolicTraining:
        for key in ("forgetful_mask", "audition"):
            if getattr(self, key):
                raise ValueError(f"{key} is AudioLM's; the system symbolic_lm has none")
        return self


class SymbolicStage(StageSettings):
    """The trained part of the system."""

    network: SymbolicNetwork = Gpt2(kind="gpt2")
    training: SymbolicTraining = SymbolicTraining()


# Steps and batches of the embedded default (about a minute of training on two cores).
LM_DEFAULTS: dict[str, dict[str, Any]] = {
    "lm": {"training": {"steps": 300, "batch_size": 8, "learning_rate": 2e-3}}
}


class SymbolicStages(Section):
    """One transformer; what it does not name keeps the default."""

    lm: SymbolicStage = Field(description="the language model; 300 steps, batch 8")

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        return merge(LM_DEFAULTS, value) if isinstance(value, dict) else value


class SymbolicSampling(Sampling):
    """How tokens are drawn."""

    top_k: int | None = Field(None, ge=1, description="only the k likeliest; none: all")
    min_p: float | None = Field(
        None, gt=0, le=1, description="only tokens at least this likely, relative to the likeliest"
    )
    repetition_penalty: float = Field(
        1.0, ge=1, description="scores of tokens that are in the context are divided by this"
    )
    no_repeat_ngram: int | None = Field(
        None,
        ge=1,
        description="no sequence of this many tokens twice (Neuromusic's greedy test: 2)",
    )
    grammar: bool = Field(
        True, description="draw only what the tokenizer's grammar allows (no stuck notes)"
    )


class SymbolicGenerate(GenerateSettings):
    """The clips that are generated for listening and for the metrics."""

    conditions: ClassVar[tuple[str, ...]] = ("prime", "times")
    of_the_workflow: ClassVar[tuple[str, ...]] = (
        *("clips", "batch_size", "prompt", "prompt_tokens", "new_tokens"),
    )

    seconds: float = Field(
        2.0, gt=0, le=3600, description="seconds of each clip that are measured, after its prompt"
    )
    prompt: Literal["none", "held_out"] = Field(
        "none", description="none: from nothing; held_out: continue pieces of the test split"
    )
    prompt_tokens: int = Field(512, ge=1, description="tokens of a prompt")
    new_tokens: int = Field(512, ge=1, description="tokens that are generated, at most")
    move: int | None = Field(
        None,
        ge=1,
        description="tokens by which a full context moves on (none: a quarter of it)",
    )
    sampling: SymbolicSampling = SymbolicSampling()
    prime: UserPath | None = Field(
        None, description="a MIDI file that every clip continues; its last `prompt_tokens` count"
    )
    times: bool = Field(
        False, description="results.json has generation_time (no two runs then give the same bytes)"
    )

    @property
    def primes(self) -> list[Path]:  # noqa: D102
        return [self.prime] if self.prime else []

    @property
    def prompted(self) -> bool:  # noqa: D102
        return self.prompt != "none" or self.prime is not None

    @field_serializer("prime", when_used="json")
    def _name_only(self, path: Path | None) -> str | None:
        """The file is a rule's input; params and results do not say on which machine it lay."""
        return path.name if path else None


class SymbolicLm(TrainedExperiment):
    """A language model of symbolic music: tokenizer x network x corpus."""

    one_line: ClassVar[OneLine] = OneLine(
        keys={"tokens": "remi", "stages": {"lm": {"network": {"kind": "llama"}}}},
        chosen_by="midi",
    )
    makes: ClassVar[frozenset[str]] = frozenset({"audio", "notes"})
    conditions: ClassVar[frozenset[str]] = frozenset({"midi"})
    likelihood: ClassVar[bool] = True
    continues: ClassVar[bool] = True
    pretrained_kinds: ClassVar[tuple[str, ...]] = ("checkpoint",)
    rivals: ClassVar[tuple[str, ...]] = ("untrained", "shuffled", "ngram", *RIVALS_WITH_NOTES)
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "those pieces as tokens and back, played by the corpus's renderer",
        "ngram": "an n-gram model of the training music",
        "shuffled": "their tokens in random order",
        "shuffled_bars": "their bars in random order",
        "untrained": "the networks before training",
        "copies": "clips of the training music: what a copier would make",
    }
    modules: ClassVar[Mapping[str, str]] = {
        "symbolic_lm.stage": "systems/symbolic_lm/stage",
        "symbolic_lm.data": "systems/symbolic_lm/data",
        "symbolic_lm.beginnings": "systems/symbolic_lm/prefixes",
        "symbolic_lm.sampling": "systems/symbolic_lm/sampling",
        "symbolic_lm.prompts": "systems/symbolic_lm/prompts",
        "symbolic_lm.player": "systems/symbolic_lm/player",
        "symbolic_lm.baselines": "systems/symbolic_lm/baselines",
    }
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": ("symbolic_lm.stage",),
        "train": ("symbolic_lm.stage", "symbolic_lm.data", "loop", "steps"),
        "generate": (
            *("symbolic_lm.player", "symbolic_lm.sampling", "symbolic_lm.prompts", "sampling"),
            *("clips", "render", "midi_writing", "midi_continuation"),
        ),
        "baselines": (
            *("symbolic_lm.stage", "symbolic_lm.player", "symbolic_lm.sampling", "sampling"),
            *("symbolic_lm.baselines", "ngram", "baselines", "clips", "render", "midi_writing"),
        ),
        "continuation": (
            *("symbolic_lm.stage", "symbolic_lm.data", "symbolic_lm.sampling"),
            *("symbolic_lm.beginnings", "extraction"),
        ),
        "likelihood": ("symbolic_lm.stage", "perplexity", "ngram"),
    }

    system: Literal["symbolic_lm"]
    tokens: str = Field(description="a symbolic token set from `tokens`")
    cut: str = Field(
        "two_seconds", description="a name from `cuts`: how real music is cut for the comparison"
    )
    stages: SymbolicStages = Field(
        SymbolicStages.model_validate({}), description="network and training"
    )
    generate: SymbolicGenerate = SymbolicGenerate()

    def cut_name(self, config: Config) -> str:  # noqa: D102
        return self.cut

    def check(self, where: str, config: Config) -> None:  # noqa: D102
        known(self.cut, config.cuts, f"{where}.cut", "cuts")
        if not isinstance(config.tokens[self.tokens], SymbolicTokenSet):
            raise ValueError(  # noqa: TRY004 (pydantic turns it into a row)
                f"{where}.tokens: {self.tokens!r} is of audio; symbolic_lm needs a symbolic token "
                "set (one that names a `tokenizer`)"
            )

    def positions(self, config: Config) -> float:  # noqa: D102
        window = getattr(config.tokens[self.tokens], "window", 0)
        return float(self.stages.lm.training.items_seen * window)
