"""The system `phrase_ldm`: phrases as latents of a VAE, whole pieces by diffusion over these."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_serializer, model_validator

from etude.config.base import Section, UserPath, fault, merge
from etude.config.diffusion import BarTransformer, Crops, Denoising
from etude.config.phrases import Kl, PhraseNetwork, Rotary
from etude.config.symbolic_tokens import RemiZ, SymbolicTokenSet
from etude.config.systems.base import (
    RIVALS_WITH_NOTES,
    GenerateSettings,
    OneLine,
    StagePlan,
    StageSettings,
    TrainedExperiment,
    known,
)
from etude.config.systems.training import TrainingSettings

if TYPE_CHECKING:
    from etude.config.whole import Config


Meter = Annotated[str, Field(pattern=r"^[1-9][0-9]*/(1|2|4|8|16|32|64)$")]


class PhraseTraining(TrainingSettings):
    """How a stage is trained; counted in steps, never in seconds. 0 steps: it is not there."""

    steps: int = Field(0, ge=0, description="optimiser steps; 0: the stage is left out")

    @model_validator(mode="after")
    def _what_it_has_not(self) -> PhraseTraining:
        for key in ("forgetful_mask", "label_smoothing", "audition", "checkpoint_activations"):
            if getattr(self, key):
                raise fault("not-of-this-system", f"{key}: the stages of phrase_ldm have none")
        return self


class PhraseStep(StageSettings):
    """A stage that learns phrases."""

    network: PhraseNetwork = Rotary(kind="rotary")
    training: PhraseTraining = PhraseTraining()

    @property
    def there(self) -> bool:
        """Whether it is trained, or has weights from elsewhere."""
        return self.training.steps > 0 or self.weights is not None


class InfillStage(PhraseStep):
    """Stage 1: bars with gaps, and what stood there."""

    share: float = Field(0.3, gt=0, lt=1, description="share of tokens that are taken out")
    span: float = Field(3.0, gt=0, description="mean length of a gap in tokens (Poisson)")


class VaeStage(PhraseStep):
    """Stage 3: phrases as latents and back."""

    kl: Kl = Kl()
    least_f1: float = Field(
        0.5,
        ge=0,
        le=1,
        description="least F1 of notes (onset and pitch) after a round trip of held-out phrases"
        " through the latents; below it the run stops with an error",
    )


class LdmStage(StageSettings):
    """The stage that makes pieces: diffusion over the latents of their phrases."""

    network: BarTransformer = BarTransformer()
    training: PhraseTraining = PhraseTraining()
    crops: Crops = Crops()
    meters: list[Meter] = Field(
        ["4/4"],
        min_length=1,
        description="time signatures to learn; pieces with another one, or that change, are "
        "left out and counted",
    )
    labels: UserPath | None = Field(
        None,
        exclude_if=lambda path: path is None,
        description="a CSV file with the columns piece and sections (i8A8A8B4); for pieces that"
        " are not in it (or without a file) sections are their exact repeats",
    )

    @property
    def files(self) -> list[Path]:  # noqa: D102
        return [self.labels] if self.labels else []

    @field_serializer("labels", when_used="json")
    def _name_only(self, path: Path | None) -> str | None:
        """The file is a rule's input; params do not say on which machine it lay."""
        return path.name if path else None

    @property
    def there(self) -> bool:
        """Whether it is trained, or has weights from elsewhere."""
        return self.training.steps > 0 or self.weights is not None


# Steps and batches of the small run over the chorales (docs/decisions.md has what was tried).
STAGE_DEFAULTS: dict[str, dict[str, Any]] = {
    "vae": {
        "network": {"kind": "rotary"},
        "training": {
            "steps": 1400,
            "batch_size": 16,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "muon_learning_rate": 4e-3,
            "validate_every": 350,
            "validate_items": 512,
        },
    },
    "ldm": {
        "training": {
            "steps": 1600,
            "batch_size": 16,
            "ema_decay": 0.997,
            "validate_every": 400,
            "validate_items": 64,
        },
    },
}


def _network_of(stage: Any) -> Any:
    """The `network` that a stage is given, as it is written."""
    return stage.get("network") if isinstance(stage, dict) else getattr(stage, "network", None)


ORDER = ("infill", "autoencode", "vae", "ldm")
POSITIONS = {"infill": 120, "autoencode": 30, "vae": 30, "ldm": 16}  # of an item, roughly


class PhraseStages(Section):
    """Three stages that learn phrases, each from the weights of the one before, and the diffusion.

    The first two are not there unless they have steps.
    """

    infill: InfillStage = Field(description="bars with gaps -> bars; no steps")
    autoencode: PhraseStep = Field(description="phrases -> four states -> phrases; no steps")
    vae: VaeStage = Field(description="phrases -> latents -> phrases; 1400 steps, batch 16, Muon")
    ldm: LdmStage = Field(description="noise -> the latents of a piece; 1600 steps, batch 16")

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        """Laid over the defaults; the first two stages have the network of the VAE."""
        if not isinstance(value, dict):
            return value
        merged = merge(STAGE_DEFAULTS, value)
        of_vae = _network_of(merged["vae"])  # its kind need not be written
        written = _network_of(value.get("vae")) is not None
        for name in ("infill", "autoencode"):
            own = _network_of(value.get(name))
            if isinstance(own, dict):
                own = {"kind": "rotary"} | own
            if own is not None and written and own != of_vae:
                raise fault("another-network", f"{name}.network: leave it out; it is the VAE's")
            stage = merged.get(name) or {}
            if isinstance(stage, dict):
                merged[name] = stage | {"network": own or of_vae}
        return merged

    @model_validator(mode="after")
    def _something_is_made(self) -> PhraseStages:
        for name in ("vae", "ldm"):
            if not getattr(self, name).there:
                raise fault(
                    "stage-left-out", f"{name}.training.steps: 0; nothing is made without it"
                )
        return self


class PhraseGenerate(GenerateSettings):
    """The clips that are generated: whole pieces, of which metrics hear `seconds`."""

    conditions: ClassVar[tuple[str, ...]] = ("midi", "keep", "between", "strength")

    seconds: float = Field(
        2.0, gt=0, le=3600, description="seconds of each clip that are measured, after its prompt"
    )
    bars: int | None = Field(
        None, ge=1, le=1000, description="bars of each clip (none: those of `sections`, else 16)"
    )
    sections: str = Field(
        "",
        pattern=r"^([A-Za-z][0-9]+)*$",
        description="the form, as letters with lengths in bars: i8A8A8B4; none: one of the "
        "training pieces' of this length, or none",
    )
    repeats: Literal["same", "free"] = Field(
        "same",
        description="sections of one letter: the same music, as in the repeats that letters come "
        "from (same), or each made by itself (free: for `labels` whose letters mean less)",
    )
    key: str = Field(
        "",
        pattern=r"^([A-G][b#]?( (major|minor))?)?$",
        description="such as G or Bb minor (none: as training pieces, mostly C or A minor)",
    )
    mode: Literal["any", "major", "minor"] = Field("any", description="mode that is asked for")
    meter: str = Field(
        "", pattern=r"^([0-9]+/[0-9]+)?$", description="such as 3/4 (none: the first of `meters`)"
    )
    programs: list[Annotated[int, Field(ge=0, le=128)]] = Field(
        [], description="the instrument of each slot, 128: drums (none: the commonest of each)"
    )
    tempo: float | None = Field(
        None, gt=0, le=1000, description="quarters a minute (none: the tokenizer's)"
    )
    denoising: Denoising = Field(
        Denoising(solver="ddim", steps=50, eta=1.0, temperature=0.8),
        description="with fresh noise at each step, a little less than in training",
    )
    midi: UserPath | list[UserPath] | None = Field(
        None,
        description="a MIDI file, of which `keep` stays, or which clips continue; two: clips "
        "lie between them",
    )
    keep: str = Field(
        "",
        pattern=r"^([0-9]+-[0-9]+(, ?[0-9]+-[0-9]+)*)?$",
        description="bars of the file that stay while the rest is generated: 1-8, 13-16 (none: "
        "all, and `bars` more are added after it)",
    )
    between: float = Field(0.5, ge=0, le=1, description="0: at the first file, 1: at the second")
    strength: float = Field(
        0.5, ge=0, le=1, description="how much noise is added to a point between two files"
    )

    @property
    def primes(self) -> list[Path]:  # noqa: D102
        if self.midi is None:
            return []
        return self.midi if isinstance(self.midi, list) else [self.midi]

    @property
    def length(self) -> int:
        """Bars that are made."""
        if self.bars is not None:
            return self.bars
        return sum(int(part) for part in re.findall(r"\d+", self.sections)) or 16

    @field_serializer("midi", when_used="json")
    def _names_only(self, value: Path | list[Path] | None) -> Any:
        """Files are a rule's input; params and results do not say on which machine they lay."""
        return [path.name for path in value] if isinstance(value, list) else value and value.name

    @model_validator(mode="after")
    def _fits(self) -> PhraseGenerate:
        total = sum(int(part) for part in re.findall(r"\d+", self.sections))
        if self.sections and total != self.length:
            raise fault("length-of-sections", f"sections: {total} bars, but bars is {self.bars}")
        if " " in self.key and self.mode not in ("any", self.key.split()[1]):
            raise fault("mode-of-another-key", f"mode: {self.mode} is not that of {self.key}")
        if not 0 <= len(self.primes) <= 2 or self.midi == []:
            raise fault("too-many-files", "midi: name one, or two to make something between them")
        if self.keep and len(self.primes) == 2:
            raise fault("cannot-be-kept", "keep: it is of one file, and `midi` names two")
        for first, last in self.kept:
            if not 1 <= first <= last:
                raise fault("cannot-be-kept", f"keep: {first}-{last} are no bars; 1 is the first")
        return self

    @property
    def kept(self) -> list[tuple[int, int]]:
        """First and last bars, counted from 1, that stay."""
        parts = (part.split("-") for part in self.keep.replace(" ", "").split(",") if part)
        return [(int(first), int(last)) for first, last in parts]

    @property
    def mode_condition(self) -> str:
        """any, major or minor: of `mode`, or of the key where that says one."""
        return self.key.split()[1] if " " in self.key else self.mode


_OF_PHRASES = ("phrase_ldm.vae", "phrase_ldm.rotary", "phrase_ldm.t5")
_OF_PIECES = (
    *("phrase_ldm.dit", "phrase_ldm.ldm", "phrase_ldm.sections"),
    *("diffusion.schedules", "diffusion.predictions"),
)
_OF_PLAYING = (
    *(*_OF_PHRASES, *_OF_PIECES, "diffusion.solvers", "diffusion.guidance", "sampling"),
    *("phrase_ldm.own", "phrase_ldm.player", "tokenizer.remi_z", "clips", "render", "midi_writing"),
)


class PhraseLdm(TrainedExperiment):
    """PhraseVAE and PhraseLDM: a latent for each phrase, and diffusion over those of a piece."""

    one_line: ClassVar[OneLine] = OneLine(preset="phrase_ldm")
    makes: ClassVar[frozenset[str]] = frozenset({"audio", "notes"})
    conditions: ClassVar[frozenset[str]] = frozenset({"length", "midi"})
    latent_space: ClassVar[bool] = True
    rivals: ClassVar[tuple[str, ...]] = (
        *("untrained", "shuffled_latents", "gaussian_latents", *RIVALS_WITH_NOTES),
    )
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "held-out pieces through the autoencoder",
        "shuffled_latents": "their latents shuffled over bars and pieces",
        "gaussian_latents": "normal random numbers as latents",
        "untrained": "the diffusion before training, with the trained autoencoder",
        "independent_bars": "real bars of held-out pieces in random order",
        "ngram": "an n-gram model of the training music",
        "copies": "clips of the training music: what a copier would make",
    }
    modules: ClassVar[Mapping[str, str]] = {
        f"phrase_ldm.{name}": f"systems/phrase_ldm/{name}"
        for name in (
            *("vae", "rotary", "t5", "phrases", "latents", "dit", "ldm", "pieces", "sections"),
            *("player", "baselines"),
        )
    } | {"phrase_ldm.own": "systems/phrase_ldm/user_piece"}
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": (*_OF_PHRASES, *_OF_PIECES),
        "encode": (*_OF_PHRASES, "phrase_ldm.phrases", "phrase_ldm.latents"),
        "generate": (*_OF_PLAYING, "midi_continuation"),
        "baselines": (
            *(*_OF_PLAYING, "phrase_ldm.phrases", "phrase_ldm.latents", "phrase_ldm.baselines"),
            *("ngram", "baselines"),
        ),
    }
    stage_encodes: ClassVar[tuple[str, ...]] = ("vae",)
    baseline_stages: ClassVar[tuple[str, ...]] = ("vae",)

    system: Literal["phrase_ldm"]
    tokens: str = Field(description="a token set of a `remi_z` tokenizer from `tokens`")
    cut: str = Field("two_seconds", description="a name from `cuts`: how real music is cut")
    stages: PhraseStages = Field(PhraseStages.model_validate({}), description="its training")
    generate: PhraseGenerate = PhraseGenerate()

    def stage_plans(self) -> list[StagePlan]:
        """The stages that are there; each needs the one before."""
        names = [name for name in ORDER if getattr(self.stages, name).there]
        before = [(), *((name,) for name in names[:-1])]
        return [
            StagePlan(name, getattr(self.stages, name), needs, name in self.stage_encodes)
            for name, needs in zip(names, before, strict=True)
        ]

    def labels(self, what: str, stage: str | None = None) -> tuple[str, ...]:  # noqa: D102
        if what != "train":
            return super().labels(what, stage)
        phrases, pieces = (*_OF_PHRASES, "phrase_ldm.phrases"), (*_OF_PIECES, "phrase_ldm.pieces")
        own = {"ldm": pieces, None: (*phrases, *pieces)}.get(stage, phrases)
        return (*own, "loop", "steps")

    def untrained_params(self) -> str:  # noqa: D102
        values = json.loads(super().untrained_params())
        values["stages"]["ldm"]["meters"] = self.stages.ldm.meters
        return json.dumps(values, sort_keys=True)

    def cut_name(self, config: Config) -> str:  # noqa: D102
        return self.cut

    def check(self, where: str, config: Config) -> None:  # noqa: D102
        known(self.cut, config.cuts, f"{where}.cut", "cuts")
        tokens = config.tokens[self.tokens]
        chosen = config.tokenizers.get(getattr(tokens, "tokenizer", ""))
        if not isinstance(tokens, SymbolicTokenSet) or not isinstance(chosen, RemiZ):
            raise fault(
                "tokenizer-of-another-kind",
                f"{where}.tokens: {self.tokens!r} has no phrases; its tokenizer must be a remi_z",
            )
        meter = self.generate.meter
        if meter and meter not in self.stages.ldm.meters:
            raise fault(
                "meter-not-learned",
                f"{where}.generate.meter: {meter} is not among stages.ldm.meters; add it there",
            )
        if self.generate.programs and len(self.generate.programs) != chosen.slots:
            raise fault(
                "programs-do-not-fit",
                f"{where}.generate.programs: {len(self.generate.programs)} of {chosen.slots} slots",
            )

    def positions(self, config: Config) -> float:
        """Tokens of phrases that the stages predict, and bars that the diffusion does."""
        return float(
            sum(
                plan.settings.training.items_seen * POSITIONS[plan.name]
                for plan in self.stage_plans()
            )
        )
