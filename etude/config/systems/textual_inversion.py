"""The system `textual_inversion`: new words for a text-to-music model that stays as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from etude.config.base import Composed, Distinct, Section, fault, merge
from etude.config.pretrained import PRETRAINED_KINDS
from etude.config.systems.base import (
    OneLine,
    StagePlan,
    StageSettings,
    TrainedExperiment,
    known,
)
from etude.config.systems.musicgen import (
    MusicGen,
    TextGenerate,
    check_templates,
    check_tokens,
    positions,
)
from etude.config.systems.training import Weights

if TYPE_CHECKING:
    from etude.config.whole import Config

# Sentences that a concept is learned in, and others in which it is judged and played.
TRAINING_TEMPLATES = (
    "the sound of {}",
    "{}",
    "a recording of {}",
    "music of {}",
    "{} playing",
    "listen to {}",
)
TEST_TEMPLATES = ("music in the style of {}", "a piece for {}")


class Templates(Section):
    """Sentences around concepts; {} is the concept."""

    train: Annotated[list[str], Distinct] = Field(
        list(TRAINING_TEMPLATES), min_length=1, description="sentences for training, one at random"
    )
    test: Annotated[list[str], Distinct] = Field(
        list(TEST_TEMPLATES),
        min_length=1,
        description="sentences for validation, test and clips, in turn",
    )

    @model_validator(mode="after")
    def _each_has_a_place(self) -> Templates:
        check_templates(self.train, "templates.train")
        check_templates(self.test, "templates.test")
        if both := set(self.train) & set(self.test):
            raise fault(
                "template-in-both", f"templates: {min(both)!r} is to learn in and to test in"
            )
        return self


TRAINING: dict[str, Any] = {
    "training": {
        "steps": 150,
        "batch_size": 16,
        "learning_rate": 0.1,
        "warmup_steps": 0,
        "final_ratio": 0.1,
        "weight_decay": 0.0,
        "validate_every": 10,
        "validate_items": 64,  # of few pieces; more would cost a third of the time
        "save_every": 50,
        "use": "best",
        "patience": 8,
    }
}


class InversionStages(Section):
    """What is trained; the base is taken over as it is."""

    concept: StageSettings = Field(
        description="the rows of the new words; 150 steps, batch 16, learning rate 0.1 down to "
        "0.01, validated every 10 steps, the best kept, patience 8"
    )

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        return merge({"concept": TRAINING}, value) if isinstance(value, dict) else value


class TextualInversion(TrainedExperiment):
    """Textual inversion (Gal et al., arXiv 2208.01618) of a text-to-music model."""

    one_line: ClassVar[OneLine] = OneLine(
        preset="ti_musicgen",
        names={"tokens": "tokens_per_concept", "tokens-num": "tokens_per_concept"},
    )
    conditions: ClassVar[frozenset[str]] = frozenset({"text", "concept", "length"})
    judges_concepts: ClassVar[bool] = True
    rivals: ClassVar[tuple[str, ...]] = ()  # its words have rivals, its clips are of them alone
    reads_captions: ClassVar[bool] = True
    pretrained_kinds: ClassVar[tuple[str, ...]] = ("checkpoint",)
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "those real clips through the codec",
        "shuffled": "their frames of codes in random order",
        "untrained": "the new words before training",
    }
    modules: ClassVar[Mapping[str, str]] = {
        "textual_inversion.concepts": "systems/textual_inversion/concepts",
        "textual_inversion.data": "systems/textual_inversion/data",
        "textual_inversion.files": "systems/textual_inversion/files",
        "textual_inversion.asked": "systems/textual_inversion/concept_queries",
    }
    _base: ClassVar[tuple[str, ...]] = ("musicgen.network", "musicgen.texts")
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": (*_base, "textual_inversion.concepts", "textual_inversion.files"),
        "train": (
            *(*_base, "musicgen.data", "textual_inversion.concepts", "textual_inversion.data"),
            *("textual_inversion.files", "loop", "steps"),
        ),
        "generate": (
            *(*_base, "musicgen.sampling", "musicgen.player", "textual_inversion.concepts"),
            *("sampling", "clips"),
        ),
        "concepts": (
            *(*_base, "musicgen.sampling", "musicgen.player", "musicgen.data"),
            *("textual_inversion.concepts", "textual_inversion.asked", "musicgen.asked"),
            "sampling",
        ),
        "baselines": (
            *(*_base, "musicgen.sampling", "musicgen.player", "textual_inversion.concepts"),
            *("sampling", "clips", "baselines"),
        ),
    }
    stage_keys: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "base": ("base", "base_seed", "concepts"),
        "concept": (
            *("base", "base_seed", "concepts", "tokens_per_concept", "templates"),
            *("orthogonality", "contrast", "margin", "shuffle_tokens"),
        ),
    }

    system: Literal["textual_inversion"]
    tokens: str = Field("embedded", description="a token set of audio, of the base's codec")
    base: str = Field(
        description="an experiment of the system `musicgen`, trained here or pretrained"
    )
    base_seed: int = Field(0, ge=0, description="which of its trainings, by the training seed")
    concepts: Annotated[list[Annotated[str, Composed]], Distinct] = Field(
        min_length=1, description="folders of the corpus; each gets a word of its name, <name>"
    )
    tokens_per_concept: int = Field(5, ge=1, le=100, description="rows that a word stands for")
    templates: Templates = Templates()
    orthogonality: float = Field(
        0.0,
        ge=0,
        description="weight of the squared cosines between the rows of a word (original: 0.1)",
    )
    contrast: float = Field(0.0, ge=0, description="weight of the loss that keeps words apart")
    margin: float = Field(
        1.5, gt=0, le=2, description="least distance between words (scaled to length 1)"
    )
    shuffle_tokens: bool = Field(False, description="shuffle the rows of a word each time")
    stages: InversionStages = Field(
        InversionStages.model_validate({}), description="training of the new words"
    )
    generate: TextGenerate = TextGenerate()

    @property
    def builds_on(self) -> list[str]:  # noqa: D102
        return [self.base]

    def stage_plans(self) -> list[StagePlan]:  # noqa: D102
        place = Path("results", "models", self.base, "lm", f"seed-{self.base_seed}")
        base = StageSettings(weights=Weights(path=place))
        return [StagePlan("base", base), StagePlan("concept", self.stages.concept, ("base",))]

    def stage_params(self, stage: str) -> str:  # noqa: D102
        if stage != "base":
            return super().stage_params(stage)
        keys = {"system", "corpus", "tokens", *self.stage_keys["base"]}
        return json.dumps(self.model_dump(mode="json", include=keys), sort_keys=True)

    def generate_params(self) -> str:  # noqa: D102
        values = json.loads(super().generate_params())
        del values["stages"]["base"]  # which is no key of the configuration
        return json.dumps(values, sort_keys=True)

    def check(self, where: str, config: Config) -> None:  # noqa: D102
        check_tokens(where, self.tokens, config)
        known(self.base, config.experiments, f"{where}.base", "experiments")
        base = config.experiments[self.base]
        if not isinstance(base, MusicGen):
            raise fault(
                "another-system",
                f"{where}.base: {self.base!r} is of the system {base.system}, needed is musicgen",
            )
        if self.base_seed not in base.seeds.train:
            raise fault(
                "seed-not-trained",
                f"{where}.base_seed: {self.base!r} is trained with {base.seeds.train} only",
            )
        self._same_codec(where, base, config)

    def _same_codec(self, where: str, base: MusicGen, config: Config) -> None:
        """The numbers that both read must be the same sounds."""
        names = [config.audio_tokens(e.tokens).acoustic for e in (self, base)]
        fits = [
            None if (t := config.tokenizers[n]).kind in PRETRAINED_KINDS else t.fit.corpus or corpus
            for n, corpus in zip(names, (self.corpus, base.corpus), strict=True)
        ]
        if names[0] != names[1] or fits[0] != fits[1]:
            raise fault(
                "another-codec",
                f"{where}: the acoustic tokenizer is {names[0]!r} of corpus {fits[0]!r}, that of "
                f"its base {names[1]!r} of {fits[1]!r}; set `tokenizers.{names[1]}.fit.corpus: "
                f"{base.corpus}`, so that both read the same codes",
            )

    def positions(self, config: Config) -> float:  # noqa: D102
        return positions(self, self.stages.concept.training.items_seen, config)
