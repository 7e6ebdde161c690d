"""The system `audiolm`: three transformers over discrete audio tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from etude.config.base import Section, UserPath, merge
from etude.config.networks import AnyNetwork, AudioLmPytorch, Network, OwnNetwork
from etude.config.systems.training import Sampling, Seeds, Training, Weights, path_alone


class Stage(Section):
    """One trained part of a system."""

    network: AnyNetwork = Network()
    training: Training = Training()
    weights: Annotated[Weights | None, BeforeValidator(path_alone)] = Field(
        None,
        exclude_if=lambda weights: weights is None,  # a key that is not used retrains nothing
        description="weights from elsewhere; a path alone stands for `{path: ...}`",
    )

    @property
    def imported(self) -> bool:
        """Whether weights from elsewhere take the place of training."""
        return self.weights is not None and not self.weights.fine_tune

    @model_validator(mode="after")
    def _imported_weights_have_no_steps(self) -> Stage:
        if self.imported and self.training.keep_steps:
            raise ValueError(
                "keep_steps: nothing is trained here, the weights are taken as they are; "
                "leave it out, or set `weights.fine_tune: true`"
            )
        return self

    @model_validator(mode="after")
    def _only_the_transformer_forgets(self) -> Stage:
        if isinstance(self.network, OwnNetwork) and self.training.forgetful_mask:
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


class Generate(Section):
    """The clips that are generated for listening and for the metrics."""

    clips: int = Field(32, ge=1, description="number of clips")
    seconds: float = Field(2.0, gt=0, le=3600, description="length of each clip")
    hop: float | None = Field(
        None, gt=0, description="seconds a window moves on (none: half of it); the rest is context"
    )
    batch_size: int = Field(32, ge=1, description="clips sampled at once")
    whole_length: bool = Field(
        False,
        exclude_if=lambda whole: not whole,
        description="never end a clip early, as the seed's changed audiolm-pytorch does",
    )
    sampling: Sampling = Sampling()
    prime: UserPath | list[UserPath] | None = Field(
        None,
        description="a recording that the clips go on from, or several, each for as many clips: "
        "clip 0 goes on from the first, clip 1 from the second, and so on in turn",
    )

    @property
    def primes(self) -> list[Path]:
        """The recordings that clips go on from, in turn."""
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


class AudioLm(Section):
    """AudioLM: semantic -> coarse -> fine transformers over discrete audio tokens."""

    trained: ClassVar[bool] = True
    STAGES: ClassVar[tuple[str, ...]] = tuple(STAGE_DEFAULTS)
    system: Literal["audiolm"]
    corpus: str = Field(description="a name from `corpora`")
    tokens: str = Field("embedded", description="a name from `tokens`")
    coarse_quantizers: int = Field(2, ge=1, description="quantizers of the coarse stage")
    fine_frames: int = Field(25, ge=1, description="acoustic frames in a window of the fine stage")
    end_of_sequence: Literal["piece_end", "every_segment", "none"] = Field(
        "piece_end", description="where the models learn that music ends"
    )
    deduplicate_semantic: bool = Field(
        False, description="merge consecutive equal semantic tokens, as the seed does"
    )
    stages: AudioLmStages = Field(
        AudioLmStages.model_validate({}), description="networks and training"
    )
    generate: Generate = Generate()
    seeds: Seeds = Seeds()

    # What each stage hangs on besides corpus, tokens and its own section.
    STAGE_KEYS: ClassVar[dict[str, tuple[str, ...]]] = {
        "semantic": ("end_of_sequence", "deduplicate_semantic"),
        "coarse": ("coarse_quantizers", "deduplicate_semantic"),
        "fine": ("coarse_quantizers", "fine_frames"),
    }

    def own_networks(self, *stages: str) -> list[str]:
        """The `module:Class` of these stages, or of all, where the network is the user's own."""
        networks = [getattr(self.stages, stage).network for stage in stages or STAGE_DEFAULTS]
        return [network.kind for network in networks if isinstance(network, OwnNetwork)]

    def library_stages(self, *stages: str) -> list[str]:
        """Those of these stages, or of all, whose network is the package audiolm-pytorch's."""
        return [
            stage
            for stage in stages or STAGE_DEFAULTS
            if isinstance(getattr(self.stages, stage).network, AudioLmPytorch)
        ]

    @model_validator(mode="after")
    def _the_library_knows_one_end(self) -> AudioLm:
        if self.library_stages("semantic") and self.end_of_sequence != "every_segment":
            raise ValueError(
                "stages.semantic.network is audiolm_pytorch's, which learns that each segment "
                "ends and knows no other end: set end_of_sequence: every_segment "
                "(generate.whole_length: true never ends a clip early)"
            )
        return self

    def stage_params(self, stage: str) -> str:
        """All that decides one stage's training, as sorted JSON for a rule's `params`."""
        keys = ("system", "corpus", "tokens", *self.STAGE_KEYS[stage])
        values = self.model_dump(mode="json", include=set(keys))
        settings: Stage = getattr(self.stages, stage)
        unused = {"training"} if settings.imported else set()
        own = settings.model_dump(mode="json", exclude=unused)
        return json.dumps(values | {"stages": {stage: own}}, sort_keys=True)

    def untrained_params(self) -> str:
        """All that decides the networks before training and how they are sampled."""
        values = self.model_dump(mode="json", exclude={"generate": {"prime"}})
        values["stages"] = {s: {"network": v["network"]} for s, v in values["stages"].items()}
        values["seeds"] = {"train": values["seeds"]["train"][:1]}
        return json.dumps(values, sort_keys=True)
