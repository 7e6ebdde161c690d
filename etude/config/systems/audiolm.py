"""The system `audiolm`: three transformers over discrete audio tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from etude.config.base import OWN, Section, UserPath, merge
from etude.config.networks import PluginNetwork
from etude.config.systems.base import (
    GenerateSettings,
    OneLine,
    StageSettings,
    TrainedExperiment,
)
from etude.config.systems.training import Sampling
from etude.config.tokens import TokenSet, frame_rate

if TYPE_CHECKING:
    from etude.config.whole import Config


class Network(Section):
    """A decoder-only transformer."""

    dim: int = Field(192, ge=8, description="width")
    depth: int = Field(3, ge=1, description="layers")
    heads: int = Field(4, ge=1, description="attention heads")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in attention and feed-forward")
    rope_base: float = Field(200.0, gt=1, description="base of the rotary embedding over time")

    @model_validator(mode="after")
    def _heads_divide(self) -> Network:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 x heads ({2 * self.heads})")
        return self


class AudioLmPytorch(Section):
    """The network of the package audiolm-pytorch 2.4.0, as we-sharp trained it."""

    backend: Literal["audiolm_pytorch"] = Field(
        description="chooses this network; docs/audiolm-pytorch.md says how to install it"
    )
    dim: int = Field(1024, ge=8, multiple_of=2, description="width")
    depth: int = Field(6, ge=1, description="layers (we-sharp: 12 in the semantic stage)")
    heads: int = Field(16, ge=1, description="attention heads, each 64 wide whatever `dim` is")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in attention and feed-forward")
    flash_attn: bool = Field(
        False, description="the library's fused attention; it leaves the position bias out"
    )


def _chosen(value: Any) -> str:
    """The member of the union: `kind` is the user's own, `backend` a library, neither Étude's."""
    read = value.get if isinstance(value, dict) else lambda key: getattr(value, key, None)
    if read("kind") is not None:
        return OWN
    return str(read("backend") or "Network")


_chosen.__name__ = "backend"  # pydantic's messages name it

AnyNetwork = Annotated[
    Annotated[Network, Tag("Network")]
    | Annotated[AudioLmPytorch, Tag("audiolm_pytorch")]
    | Annotated[PluginNetwork, Tag(OWN)],
    Discriminator(_chosen),
]


class Stage(StageSettings):
    """One trained part of a system."""

    network: AnyNetwork = Network()

    @model_validator(mode="after")
    def _only_the_transformer_forgets(self) -> Stage:
        if isinstance(self.network, PluginNetwork) and self.training.forgetful_mask:
            raise ValueError(
                "training.forgetful_mask is the transformer's; a network of your own has none"
            )
        return self

    @model_validator(mode="after")
    def _the_library_is_taken_as_it_is(self) -> Stage:
        for key in ("compile", "checkpoint_activations"):
            if isinstance(self.network, AudioLmPytorch) and getattr(self.training, key):
                raise ValueError(
                    f"training.{key} is for Étude's networks; audiolm_pytorch's runs as it is"
                )
        return self


# Steps and batches of the embedded default (about three minutes of training on two cores).
STAGE_DEFAULTS: dict[str, dict[str, Any]] = {
    "semantic": {"training": {"steps": 130, "batch_size": 32}},
    "coarse": {"training": {"steps": 340, "batch_size": 16}},
    "fine": {"training": {"steps": 260, "batch_size": 16}},
}


class AudioLmStages(Section):
    """AudioLM's three transformers; what a stage does not name keeps the stage's own default."""

    semantic: Stage = Field(description="semantic tokens; 130 steps, batch 32")
    coarse: Stage = Field(description="first quantizers given semantic tokens; 340 steps, batch 16")
    fine: Stage = Field(description="further quantizers given the first; 260 steps, batch 16")

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        return merge(STAGE_DEFAULTS, value) if isinstance(value, dict) else value


class Generate(GenerateSettings):
    """The clips that are generated for listening and for the metrics."""

    conditions: ClassVar[tuple[str, ...]] = ("prime",)

    hop: float | None = Field(
        None, gt=0, description="seconds a window moves on (none: half of it); the rest is context"
    )
    whole_length: bool = Field(
        False,
        exclude_if=lambda whole: not whole,
        description="never end a clip early, as we-sharp's changed audiolm-pytorch does",
    )
    sampling: Sampling = Sampling()
    prime: UserPath | list[UserPath] | None = Field(
        None,
        description="a recording that the clips continue, or several, each for as many clips: "
        "clip 0 continues the first, clip 1 the second, and so on in turn",
    )

    @property
    def primes(self) -> list[Path]:
        """The recordings that clips continue, in turn."""
        if self.prime is None:
            return []
        return self.prime if isinstance(self.prime, list) else [self.prime]

    @model_validator(mode="after")
    def _primes_are_told_apart(self) -> Generate:
        names = [path.name for path in self.primes]
        if self.prime == [] or len(set(names)) < len(names):
            raise ValueError("prime: name one recording or several, each with a name of its own")
        if len(names) > self.clips:
            raise ValueError(f"prime: {len(names)} recordings for {self.clips} clips")
        return self


class AudioLm(TrainedExperiment):
    """AudioLM: semantic -> coarse -> fine transformers over discrete audio tokens."""

    one_line: ClassVar[OneLine] = OneLine(chosen_by="audio")
    conditions: ClassVar[frozenset[str]] = frozenset({"recording"})
    continues: ClassVar[bool] = True
    pretrained_kinds: ClassVar[tuple[str, ...]] = ("checkpoint",)
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "those real clips through the codec",
        "shuffled": "their tokens in random order",
        "untrained": "the networks before training",
    }
    modules: ClassVar[Mapping[str, str]] = {
        "audiolm.stages": "systems/audiolm/stages",
        "audiolm.transformer": "systems/audiolm/codebook_transformer",
        "audiolm.library": "systems/audiolm/audiolm_pytorch",
        "audiolm.data": "systems/audiolm/data",
        "audiolm.beginnings": "systems/audiolm/prefixes",
        "audiolm.sampling": "systems/audiolm/sampling",
        "audiolm.player": "systems/audiolm/player",
        "audiolm.baselines": "systems/audiolm/baselines",
    }
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": ("audiolm.stages", "audiolm.transformer"),
        "train": ("audiolm.stages", "audiolm.transformer", "audiolm.data", "loop", "steps"),
        "generate": ("audiolm.sampling", "audiolm.player", "sampling", "clips"),
        "baselines": (
            *("audiolm.stages", "audiolm.transformer", "audiolm.sampling", "audiolm.baselines"),
            *("audiolm.player", "sampling", "clips", "baselines"),
        ),
        "continuation": (
            *("audiolm.stages", "audiolm.transformer", "audiolm.sampling"),
            *("audiolm.beginnings", "extraction"),
        ),
    }
    stage_keys: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "semantic": ("end_of_sequence", "deduplicate_semantic"),
        "coarse": ("coarse_quantizers", "deduplicate_semantic"),
        "fine": ("coarse_quantizers", "fine_frames"),
    }

    system: Literal["audiolm"]
    tokens: str = Field("embedded", description="a name from `tokens`")
    coarse_quantizers: int = Field(2, ge=1, description="quantizers of the coarse stage")
    fine_frames: int = Field(25, ge=1, description="acoustic frames in a window of the fine stage")
    end_of_sequence: Literal["piece_end", "every_segment", "none"] = Field(
        "piece_end", description="where the models learn that music ends"
    )
    deduplicate_semantic: bool = Field(
        False, description="merge consecutive equal semantic tokens, as we-sharp does"
    )
    stages: AudioLmStages = Field(
        AudioLmStages.model_validate({}), description="networks and training"
    )
    generate: Generate = Generate()

    def library_stages(self, *stages: str) -> list[str]:
        """Those of these stages, or of all, whose network is the package audiolm-pytorch's."""
        return [
            plan.name
            for plan in self.stage_plans()
            if isinstance(plan.settings.network, AudioLmPytorch)
            and (not stages or plan.name in stages)
        ]

    def env(self, stage: str | None = None) -> str:  # noqa: D102
        return "audiolm" if self.library_stages(*filter(None, [stage])) else "torch"

    def labels(self, what: str, stage: str | None = None) -> tuple[str, ...]:  # noqa: D102
        more = ("audiolm.library",) if self.env(stage) == "audiolm" else ()
        return (*super().labels(what, stage), *more)

    @model_validator(mode="after")
    def _the_library_knows_one_end(self) -> AudioLm:
        if self.library_stages("semantic") and self.end_of_sequence != "every_segment":
            raise ValueError(
                "stages.semantic.network is audiolm_pytorch's, which learns that each segment "
                "ends and knows no other end: set end_of_sequence: every_segment "
                "(generate.whole_length: true never ends a clip early)"
            )
        return self

    def check(self, where: str, config: Config) -> None:  # noqa: D102
        tokens = config.tokens[self.tokens]
        if not isinstance(tokens, TokenSet):
            raise ValueError(  # noqa: TRY004 (pydantic turns it into a row)
                f"{where}.tokens: {self.tokens!r} is symbolic; audiolm needs a token set of audio "
                "(a cut, a semantic and an acoustic tokenizer)"
            )
        hop, seconds = self.generate.hop, config.cuts[tokens.cut].seconds
        if hop is not None and hop > seconds:  # it would leave a gap
            raise ValueError(
                f"{where}.generate.hop: {hop:g} s is more than a window, which is {seconds:g} s "
                "long"
            )
        # A tokenizer of the user's is asked when it is imported, in its jobs.
        quantizers = getattr(config.tokenizers[tokens.acoustic], "quantizers", None)
        if quantizers is not None and self.coarse_quantizers >= quantizers:
            raise ValueError(
                f"{where}.coarse_quantizers: {self.coarse_quantizers} leaves nothing for the fine "
                f"stage; the codec has {quantizers} quantizers"
            )

    def positions(self, config: Config) -> float:  # noqa: D102
        tokens = config.audio_tokens(self.tokens)
        seconds = config.cuts[tokens.cut].seconds
        semantic, acoustic = (config.tokenizers[n] for n in (tokens.semantic, tokens.acoustic))
        semantic_count, frames = (seconds * frame_rate(t) for t in (semantic, acoustic))
        lengths = {
            "semantic": semantic_count,
            "coarse": semantic_count + frames * self.coarse_quantizers,
            "fine": self.fine_frames * getattr(acoustic, "quantizers", 1),
        }
        return sum(p.settings.training.items_seen * lengths[p.name] for p in self.stage_plans())
