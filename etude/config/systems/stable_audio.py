"""The system `stable_audio`: latents of sound from a text, by diffusion; and adaptations of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_serializer, model_validator

from etude.config.base import Distinct, Section, UserPath, fault, merge
from etude.config.diffusion import Denoising
from etude.config.sound import Adaptation, Latents, SoundTransformer
from etude.config.systems.base import (
    GenerateSettings,
    OneLine,
    StagePlan,
    StageSettings,
    TrainedExperiment,
    known,
)
from etude.config.systems.musicgen import check_templates, check_tokens
from etude.config.systems.training import TrainingSettings, Weights
from etude.config.tokens import MagnitudeRvq, frame_rate

if TYPE_CHECKING:
    from etude.config.whole import Config


class LatentsStage(StageSettings):
    """The autoencoder: taken from the tokenizer, a base or pretrained weights; never trained."""

    network: Latents = Latents()

    @property
    def imported(self) -> bool:  # noqa: D102
        return True

    @model_validator(mode="after")
    def _not_trained(self) -> LatentsStage:
        if self.training != TrainingSettings() or (self.weights and self.weights.fine_tune):
            raise fault(
                "cannot-be-trained", ": the autoencoder is not trained: it is taken as it is"
            )
        return self


TRAINING: dict[str, Any] = {
    "training": {
        "steps": 800,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "ema_decay": 0.995,
        "validate_every": 200,
    }
}
# Of adaptations: kind -> keys of their training.
ADAPTED: dict[str, dict[str, Any]] = {
    "full": {"steps": 120, "learning_rate": 5e-4, "ema_decay": 0.98, "validate_every": 40},
    "lora": {"steps": 120, "learning_rate": 3e-3, "ema_decay": 0.98, "validate_every": 40},
}


class SoundStage(StageSettings):
    """The diffusion transformer and its text encoder."""

    network: SoundTransformer = SoundTransformer()
    window: float = Field(
        2.0, gt=0, le=600, description="seconds of a piece that are seen at once in training"
    )

    @model_validator(mode="after")
    def _what_it_has_not(self) -> SoundStage:
        for key in ("forgetful_mask", "label_smoothing"):
            if getattr(self.training, key):
                raise fault(
                    "not-of-this-system", f"training.{key}: is not of this system's network"
                )
        return self


class SoundStages(Section):
    """The autoencoder, and the network that makes its latents."""

    autoencoder: LatentsStage = LatentsStage()
    dit: SoundStage = Field(
        description="text -> latents; 800 steps, batch 16, learning rate 2e-3; adaptations 120 "
        "steps of 5e-4 (full) or 3e-3 (lora)"
    )

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        return merge({"dit": TRAINING}, value) if isinstance(value, dict) else value


class SoundGenerate(GenerateSettings):
    """The clips that are generated for listening and for the metrics."""

    conditions: ClassVar[tuple[str, ...]] = ("texts", "recording", "keep", "strength")

    texts: list[str] = Field(
        [],
        description="texts that clips are generated from, in turn; none: the captions of held-"
        "out pieces",
    )
    negative: str = Field("", description="what clips must not sound like; needs guidance")
    denoising: Denoising = Field(
        Denoising(steps=25, clip="none", guidance=2.0),
        description="how latents are sampled; 25 steps, guidance 2 (small networks bear 1 to 4, "
        "the pretrained ones 7), no clip",
    )
    start: float | None = Field(
        None,
        ge=0,
        description="start of the clip in a piece, in seconds (none: random, as in training)",
    )
    total: float | None = Field(
        None, gt=0, description="length of that piece, in seconds (none: random, as in training)"
    )
    strength: float = Field(
        0.7, gt=0, le=1, description="how much of a recording is regenerated; 1: nearly all"
    )
    recording: UserPath | list[UserPath] | None = Field(
        None, description="recordings that clips are made from, in turn"
    )
    keep: str = Field(
        "",
        pattern=r"^([0-9.]+-[0-9.]+(, ?[0-9.]+-[0-9.]+)*)?$",
        description="seconds of the recording that stay while the rest is generated: 0-1.5, "
        "3-4; what comes after its end is generated too",
    )
    adapter_strength: float = Field(
        1.0, ge=0, le=2, description="of the experiment's own adapter (lora); 0: the base alone"
    )
    strengths: dict[str, Annotated[float, Field(ge=0, le=2)]] = Field(
        {}, description="of each of `adapters` (none: 1)"
    )

    @property
    def primes(self) -> list[Path]:  # noqa: D102
        if self.recording is None:
            return []
        return self.recording if isinstance(self.recording, list) else [self.recording]

    @property
    def prompted(self) -> bool:
        """Clips are made from a recording as a whole: none of it is cut off."""
        return False

    @property
    def kept(self) -> list[tuple[float, float]]:
        """First and last seconds that stay."""
        parts = (part.split("-") for part in self.keep.replace(" ", "").split(",") if part)
        return [(float(first), float(last)) for first, last in parts]

    @field_serializer("recording", when_used="json")
    def _names_only(self, value: Path | list[Path] | None) -> Any:
        """Files are a rule's input; params and results do not say on which machine they lay."""
        return [path.name for path in value] if isinstance(value, list) else value and value.name

    @model_validator(mode="after")
    def _fits(self) -> SoundGenerate:
        if self.keep and not self.primes:
            raise fault(
                "cannot-be-kept", "keep: it says what stays of a recording, and none is named"
            )
        if any(first >= last for first, last in self.kept):
            raise fault(
                "cannot-be-kept", f"keep: {self.keep} has a part that ends before it begins"
            )
        if self.negative and self.denoising.guidance == 1:
            raise fault(
                "negative-without-guidance",
                "negative: nothing is kept away from without guidance; 1 is none",
            )
        if self.total is not None and (self.start or 0) >= self.total:
            raise fault(
                "start-behind-the-end",
                f"start: {self.start:g} s lie behind the end, {self.total:g} s",
            )
        return self


BESIDE = "beside-"  # begins the name of a stage that is another experiment's adapter
ADAPTER_SEED = 0

_OF_SOUND = (
    *("musicgen.texts", "stable_audio.texts", "stable_audio.told", "stable_audio.network"),
    *("stable_audio.adapter", "diffusion.schedules", "diffusion.predictions"),
)
_OF_LATENTS = ("stable_audio.autoencoder", "tokenizer.magnitude_rvq")
_OF_PLAYING = (
    *(*_OF_SOUND, *_OF_LATENTS, "diffusion.solvers", "diffusion.guidance"),
    *("stable_audio.player", "sampling", "clips"),
)


class StableAudio(TrainedExperiment):
    """Stable Audio Open (Evans et al., arXiv 2407.14358): text -> latents of sound."""

    one_line: ClassVar[OneLine] = OneLine(preset="stable_audio_open")
    conditions: ClassVar[frozenset[str]] = frozenset({"text", "length", "recording"})
    reads_captions: ClassVar[bool] = True
    encodes_audio: ClassVar[bool] = True
    pretrained_kinds: ClassVar[tuple[str, ...]] = ("text_to_sound",)
    proves_texts: ClassVar[bool] = True
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "those real clips through the autoencoder",
        "shuffled": "their frames of latents in random order",
        "untrained": "the network before training",
    }
    modules: ClassVar[Mapping[str, str]] = {
        f"stable_audio.{name}": f"systems/stable_audio/{name}"
        for name in ["autoencoder", "network", "adapter", "texts", "latents", "data", "player"]
    } | {"stable_audio.told": "systems/stable_audio/conditioning"}
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": (*_OF_SOUND, *_OF_LATENTS),
        "train": (*_OF_SOUND, "musicgen.data", "stable_audio.data", "sampling", "loop", "steps"),
        "encode": (*_OF_LATENTS, "stable_audio.latents"),
        "generate": _OF_PLAYING,
        "baselines": (*_OF_PLAYING, "baselines"),
    }
    stage_needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"dit": ("autoencoder",)}
    stage_encodes: ClassVar[tuple[str, ...]] = ("autoencoder",)
    stage_keys: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "autoencoder": ("base", "base_seed"),
        "base": ("base", "base_seed"),
        BESIDE: ("base", "base_seed", "adapt", "adapters"),
        "dit": ("base", "base_seed", "adapt", "without_text", "without_word", "templates"),
    }

    system: Literal["stable_audio"]
    tokens: str = Field("embedded", description="a token set of audio from `tokens`")
    base: str | None = Field(
        None, description="another experiment of this system, which is adapted to the corpus"
    )
    base_seed: int = Field(0, ge=0, description="which of its trainings, by the training seed")
    adapt: Adaptation = Field(Adaptation(), description="of the base, where there is one")
    adapters: Annotated[list[str], Distinct] = Field(
        [],
        description="other experiments with an adapter (lora) of the same base, added to this "
        "one's",
    )
    without_text: float = Field(
        0.1, ge=0, lt=1, description="share of training items without any text (for guidance)"
    )
    without_word: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of a caption's parts (between commas) that are left out each time it"
        " is read; never all of them",
    )
    templates: Annotated[list[str], Distinct] = Field(
        ["{}"],
        min_length=1,
        description="sentences around captions, one at random; {} is the caption",
    )
    stages: SoundStages = Field(SoundStages.model_validate({}), description="networks and training")
    generate: SoundGenerate = SoundGenerate()

    @model_validator(mode="before")
    @classmethod
    def _training_of_adaptations(cls, value: Any) -> Any:
        """An adaptation has fewer steps; what the user writes goes over them."""
        if not isinstance(value, dict) or not value.get("base"):
            return value
        adapt = value.get("adapt") or {}
        kind = adapt.get("kind", "full") if isinstance(adapt, dict) else adapt.kind
        stages = value.get("stages") or {}
        if not isinstance(stages, dict) or kind not in ADAPTED:
            return value
        return value | {"stages": merge({"dit": {"training": ADAPTED[kind]}}, stages)}

    @model_validator(mode="after")
    def _fits(self) -> StableAudio:
        check_templates(self.templates, "templates")
        if self.stages.dit.weights and self.stages.dit.weights.fine_tune:
            raise fault(
                "cannot-be-fine-tuned",
                "stages.dit.weights.fine_tune: weights are adapted by another experiment, "
                "which names this one as its `base`",
            )
        if self.adapters and (not self.base or self.adapt.kind != "lora"):
            raise fault(
                "adapters-without-an-adapter",
                "adapters: they play along with an adapter (adapt.kind: lora)",
            )
        if unknown := sorted(set(self.generate.strengths) - set(self.adapters)):
            raise fault(
                "unknown-name", f"generate.strengths: {unknown[0]!r} is not among `adapters`"
            )
        if self.base and (self.stages.dit.weights or self.stages.autoencoder.weights):
            raise fault(
                "base-and-weights",
                "base and stages.*.weights: an adaptation begins with its base alone",
            )
        return self

    @property
    def builds_on(self) -> list[str]:  # noqa: D102
        return [*([self.base] if self.base else []), *self.adapters]

    def stage_plans(self) -> list[StagePlan]:
        """The autoencoder, the base where there is one, the transformer."""
        autoencoder, dit = self.stages.autoencoder, self.stages.dit
        if self.base is None:
            return [
                StagePlan("autoencoder", autoencoder, encodes=True),
                StagePlan("dit", dit, ("autoencoder",)),
            ]

        def taken(experiment: str, stage: str, seed: int) -> LatentsStage:
            place = Path("results", "models", experiment, stage, f"seed-{seed}")
            return LatentsStage(weights=Weights(path=place))

        def of_base(stage: str) -> LatentsStage:
            return taken(str(self.base), stage, self.base_seed)

        replayed = ((self.base, "autoencoder", self.base_seed),) if self.adapt.replay else ()
        return [
            StagePlan("autoencoder", of_base("autoencoder"), encodes=True),
            StagePlan("base", of_base("dit")),
            StagePlan("dit", dit, ("autoencoder", "base"), borrows=replayed),
            *(
                StagePlan(f"{BESIDE}{name}", taken(name, "dit", ADAPTER_SEED), ("base",))
                for name in self.adapters
            ),
        ]

    def generate_params(self) -> str:  # noqa: D102
        values = json.loads(super().generate_params())
        values["stages"] = self._of_the_user(values["stages"])
        return json.dumps(values, sort_keys=True)

    def stage_params(self, stage: str) -> str:  # noqa: D102
        values = json.loads(super().stage_params(stage))
        if stage.startswith(BESIDE):
            values |= self.model_dump(mode="json", include=set(self.stage_keys[BESIDE]))
        if self.base:  # what the base decides is not among the keys of the configuration
            values["stages"] = self._of_the_user(values["stages"])
            values["stages"].get(stage, {}).pop("weights", None)
        return json.dumps(values, sort_keys=True)

    def _of_the_user(self, stages: dict[str, Any]) -> dict[str, Any]:
        """Stages that are keys of the configuration."""
        return {name: stages[name] for name, _ in self.stages if name in stages}

    def check(self, where: str, config: Config) -> None:  # noqa: D102
        check_tokens(where, self.tokens, config)
        acoustic = config.tokenizers[config.audio_tokens(self.tokens).acoustic]
        if self.base is not None:
            self._check_base(where, self.base, config)
        elif self.stages.autoencoder.weights is None and not isinstance(acoustic, MagnitudeRvq):
            raise fault(
                "tokenizer-of-another-kind",
                f"{where}.tokens: latents are made by the PCA of a magnitude_rvq tokenizer; this "
                f"one is {acoustic.kind}; name another token set, or weights of stages.autoencoder",
            )

    def _check_base(self, where: str, name: str, config: Config) -> None:
        known(name, config.experiments, f"{where}.base", "experiments")
        base = config.experiments[name]
        if not isinstance(base, StableAudio):
            raise fault(
                "another-system",
                f"{where}.base: {name!r} is of the system {base.system}, needed is {self.system}",
            )
        if base.base and base.adapt.kind == "lora":
            raise fault(
                "base-is-an-adapter", f"{where}.base: {name!r} is an adapter itself; name its base"
            )
        for other in self.adapters:
            known(other, config.experiments, f"{where}.adapters", "experiments")
            self._check_adapter(f"{where}.adapters: {other!r} is", config.experiments[other])
        if self.base_seed not in base.seeds.train:
            raise fault(
                "seed-not-trained",
                f"{where}.base_seed: {name!r} is trained with {base.seeds.train} only",
            )

    def _check_adapter(self, where: str, other: Any) -> None:
        of = tuple(getattr(other, key, None) for key in ("base", "base_seed"))
        kind = other.adapt.kind if isinstance(other, StableAudio) else ""
        if (*of, kind) != (self.base, self.base_seed, "lora"):
            raise fault("not-an-adapter", f"{where} no adapter (lora) of {self.base!r}")
        if ADAPTER_SEED not in other.seeds.train:
            raise fault(
                "seed-not-trained", f"{where} trained with {other.seeds.train}, not {ADAPTER_SEED}"
            )

    def positions(self, config: Config) -> float:
        """Frames of latents that are denoised in training."""
        acoustic = config.tokenizers[config.audio_tokens(self.tokens).acoustic]
        dit = self.stages.dit
        return dit.training.items_seen * dit.window * frame_rate(acoustic)
