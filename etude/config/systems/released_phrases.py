"""The system `released_phrases`: PhraseVAE and PhraseLDM with their authors' weights.

They are played and measured as they are; the system `phrase_ldm` trains networks of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from etude.config.base import Section
from etude.config.diffusion import Denoising
from etude.config.phrases import T5
from etude.config.symbolic_tokens import RemiZ, SymbolicTokenSet
from etude.config.systems.base import (
    RIVALS_WITH_NOTES,
    GenerateSettings,
    StageSettings,
    TrainedExperiment,
    known,
)
from etude.config.systems.training import TrainingSettings

if TYPE_CHECKING:
    from etude.config.whole import Config

TRACKS = 3  # of a bar: melody, bridge and piano of POP909
POSITIONS = 12  # of a quarter note
Program = Annotated[int, Field(ge=0, le=127)]


class PhraseT5(T5):
    """T5's encoder and decoder at the released sizes."""

    kind: Literal["t5"] = "t5"

    @model_validator(mode="after")
    def _as_released(self) -> PhraseT5:
        if self.context != "none":
            raise ValueError("context: the released network has none")
        return self


class SongTransformer(Section):
    """Stable Audio's diffusion transformer over the latents of a song, at the released sizes."""

    latent: int = Field(64, ge=1, description="numbers of a phrase's latent, as the autoencoder's")
    layers: int = Field(6, ge=1, description="transformer blocks")
    heads: int = Field(16, ge=1, description="attention heads")
    head_dim: int = Field(32, ge=4, multiple_of=4, description="width of a head")
    key_value_heads: int = Field(
        8, ge=1, description="heads of keys and values in cross-attention; must divide `heads`"
    )
    cross_dim: int = Field(
        128, ge=1, description="width of what cross-attention reads (zeros, without sections)"
    )
    told_dim: int = Field(128, ge=1, description="width of what the network is told of the length")
    time_dim: int = Field(128, ge=2, multiple_of=2, description="numbers that tell the time")
    longest: int = Field(512, ge=4, multiple_of=4, description="latents of a song, four to a bar")
    lengths: bool = Field(
        True, description="whether the checkpoint is told the length (phrase-ldm-lencond)"
    )
    bucket: int = Field(10, ge=1, description="bars that are one length to it")
    scale: float = Field(
        0.7590118646621704, gt=0, description="deviation of the latents, by which they are divided"
    )
    clip: float = Field(
        3.064450740814209,
        ge=2.5,
        description="estimates of divided latents are kept within this; as released, where it is "
        "the percentile of undivided ones",
    )
    steps: int = Field(1000, ge=25, description="levels of noise (squared cosine)")

    @model_validator(mode="after")
    def _heads_divide(self) -> SongTransformer:
        if self.heads % self.key_value_heads:
            raise ValueError(
                f"key_value_heads {self.key_value_heads} must divide heads {self.heads}"
            )
        return self


class ReleasedStage(StageSettings):
    """A part that is taken as it was given out."""

    @property
    def imported(self) -> bool:  # noqa: D102
        return True

    @model_validator(mode="after")
    def _taken_as_it_is(self) -> ReleasedStage:
        if self.training != TrainingSettings() or (self.weights and self.weights.fine_tune):
            raise ValueError("released weights are not trained: phrase_ldm trains such networks")
        return self


class VaeAsReleased(ReleasedStage):
    """PhraseVAE."""

    network: PhraseT5 = PhraseT5()


class LdmAsReleased(ReleasedStage):
    """PhraseLDM."""

    network: SongTransformer = SongTransformer()


class ReleasedStages(Section):
    """Both networks."""

    vae: VaeAsReleased = Field(VaeAsReleased(), description="phrases -> latents and back")
    ldm: LdmAsReleased = Field(LdmAsReleased(), description="noise -> the latents of a song")


class SongGenerate(GenerateSettings):
    """The clips that are generated: whole songs, of which metrics hear `seconds`."""

    seconds: float = Field(2.0, gt=0, le=3600, description="seconds of each clip that are measured")
    bars: int = Field(
        64,
        ge=1,
        le=1000,
        description="length that the network is told; where a song ends is its own",
    )
    programs: list[Program] = Field(
        [], description="the instrument of each slot as it is played (none: as the networks say)"
    )
    tempo: float | None = Field(
        None, gt=0, le=1000, description="quarters a minute (none: the tokenizer's)"
    )
    denoising: Denoising = Field(
        Denoising(solver="ddpm", steps=1000),
        description="as released: every step; `ddim` with 50 is twenty times faster. `percentile` "
        "is the network's own `clip`",
    )

    @model_validator(mode="after")
    def _nothing_guides(self) -> SongGenerate:
        if self.denoising.guidance != 1:
            raise ValueError("denoising.guidance: the network was trained without; make it 1")
        return self


_OF_PHRASES = (
    *("phrase_ldm.vae", "phrase_ldm.t5", "symbolic.remi_z_texts"),
    *("released_phrases.vae", "released_phrases.vocabulary"),
)
_OF_SONGS = ("released_phrases.dit", "diffusion.schedules", "diffusion.predictions")
_OF_PLAYING = (
    *(*_OF_PHRASES, *_OF_SONGS, "diffusion.solvers", "released_phrases.player"),
    *("sampling", "clips", "tokenizer.remi_z", "render", "midi_writing"),
)


class ReleasedPhrases(TrainedExperiment):
    """PhraseVAE and PhraseLDM (arXiv 2512.11348) with their authors' weights."""

    makes: ClassVar[frozenset[str]] = frozenset({"audio", "notes"})
    conditions: ClassVar[frozenset[str]] = frozenset({"length"})
    latent_space: ClassVar[bool] = True
    pretrained_kinds: ClassVar[tuple[str, ...]] = ("checkpoint",)
    rivals: ClassVar[tuple[str, ...]] = (
        *("untrained", "shuffled_latents", "gaussian_latents", *RIVALS_WITH_NOTES),
    )
    sets: ClassVar[Mapping[str, str]] = {
        "reconstruction": "held-out pieces through the autoencoder",
        "shuffled_latents": "their latents shuffled over bars and pieces",
        "gaussian_latents": "normal random numbers as latents",
        "untrained": "the diffusion before training, with the released autoencoder",
        "copies": "clips of the training music: what a copier would make",
    }
    modules: ClassVar[Mapping[str, str]] = {
        f"released_phrases.{name}": f"systems/released_phrases/{name}"
        for name in ("vocabulary", "vae", "dit", "player", "songs", "baselines")
    }
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "build": (*_OF_PHRASES, *_OF_SONGS),
        "train": (*_OF_PHRASES, *_OF_SONGS),
        "encode": (*_OF_PHRASES, "released_phrases.songs", "phrase_ldm.phrases"),
        "generate": _OF_PLAYING,
        "baselines": (
            *(*_OF_PLAYING, "released_phrases.songs", "released_phrases.baselines"),
            *("phrase_ldm.phrases", "baselines"),
        ),
    }
    stage_keys: ClassVar[Mapping[str, tuple[str, ...]]] = {"vae": ("programs",)}
    stage_encodes: ClassVar[tuple[str, ...]] = ("vae",)

    system: Literal["released_phrases"]
    tokens: str = Field(description="a token set of a `remi_z` tokenizer of three slots")
    programs: list[Program] = Field(
        [13, 25, 0],
        min_length=TRACKS,
        max_length=TRACKS,
        description="instruments by which the networks know the tokenizer's slots (`tracks: "
        "track`): POP909's melody, bridge and piano; with `tracks: program` a track's own",
    )
    cut: str = Field("two_seconds", description="a name from `cuts`: how real music is cut")
    stages: ReleasedStages = Field(ReleasedStages(), description="where the weights are")
    generate: SongGenerate = SongGenerate()

    def cut_name(self, config: Config) -> str:  # noqa: D102
        return self.cut

    def _check_room(self, where: str) -> None:
        network, generate = self.stages.ldm.network, self.generate
        if generate.bars > network.longest // (TRACKS + 1):
            raise ValueError(
                f"{where}.generate.bars: {generate.bars} are more than the network has room for, "
                f"{network.longest // (TRACKS + 1)}"
            )
        if len(generate.programs) not in (0, TRACKS):
            raise ValueError(f"{where}.generate.programs: name {TRACKS}, one for each slot")
        if generate.denoising.steps > network.steps:
            raise ValueError(
                f"{where}.generate.denoising.steps: the network knows {network.steps} levels of "
                "noise"
            )

    def check(self, where: str, config: Config) -> None:  # noqa: D102
        known(self.cut, config.cuts, f"{where}.cut", "cuts")
        self._check_room(where)
        for plan in self.stage_plans():
            if plan.settings.weights is None:
                raise ValueError(
                    f"{where}.stages.{plan.name}.weights: name the released ones; nothing is "
                    "trained here"
                )
        tokens = config.tokens[self.tokens]
        chosen = config.tokenizers.get(getattr(tokens, "tokenizer", ""))
        if not isinstance(tokens, SymbolicTokenSet) or not isinstance(chosen, RemiZ):
            raise ValueError(  # noqa: TRY004 (pydantic turns it into a row)
                f"{where}.tokens: {self.tokens!r} has no phrases; name a token set whose tokenizer "
                "is of the kind remi_z"
            )
        wanted = {"slots": TRACKS, "positions_per_beat": POSITIONS}
        wanted |= {"drums": False, "velocities": False, "tempos": False}
        for key, value in wanted.items():
            if getattr(chosen, key) != value:
                raise ValueError(
                    f"{where}.tokens: the released networks read phrases with `{key}: {value}`; "
                    f"the tokenizer of {self.tokens!r} has {getattr(chosen, key)}"
                )
