"""What the workflow asks of every system, whatever its name: the light half.

A system is one settings class here (read when the workflow is parsed: standard library, pydantic
and yaml only), one package in `etude/systems/` (opened in the jobs), and a line in each of the two
registries. Rules and shared modules ask for the capabilities below and never for a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from etude.config.base import Section, closest
from etude.config.networks import PluginNetwork
from etude.config.systems.training import Seeds, TrainingSettings, Weights, path_alone

if TYPE_CHECKING:
    from etude.config.whole import Config


# Dumb clips, made for every system alike (etude/generation/dumb.py), that no model may lose to; of
# models that make notes (which could play it) one chord too.
RIVALS = ("random_notes", "spectrum_noise")
RIVALS_WITH_NOTES = (*RIVALS, "one_chord")


class StageSettings(Section):
    """One trained part of a system: its network, its training, weights from elsewhere."""

    network: Any = None
    training: TrainingSettings = TrainingSettings()
    weights: Annotated[Weights | None, BeforeValidator(path_alone)] = Field(
        None,
        exclude_if=lambda weights: weights is None,  # a key that is not used retrains nothing
        description="weights from elsewhere; a path alone stands for `{path: ...}`",
    )

    @property
    def imported(self) -> bool:
        """Whether weights from elsewhere take the place of training."""
        return self.weights is not None and not self.weights.fine_tune

    @property
    def files(self) -> list[Path]:
        """The user's own files that it learns from, besides the music; each name once."""
        return []

    @model_validator(mode="after")
    def _imported_weights_have_no_steps(self) -> StageSettings:
        if self.imported and self.training.keep_steps:
            raise ValueError(
                "keep_steps: nothing is trained here, the weights are taken as they are; "
                "leave it out, or set `weights.fine_tune: true`"
            )
        return self


class GenerateSettings(Section):
    """How many clips are generated, how long they are, and what they continue."""

    clips: int = Field(64, ge=1, description="number of clips; the gate wants 64 at least")
    seconds: float = Field(2.0, gt=0, le=3600, description="length of each clip")
    batch_size: int = Field(32, ge=1, description="clips sampled at once")

    # Keys that say what clips are asked to be; untrained networks and params do not depend on them.
    conditions: ClassVar[tuple[str, ...]] = ()
    # Keys that mean something to the workflow alone; forms for one request leave them out.
    of_the_workflow: ClassVar[tuple[str, ...]] = ("clips", "batch_size")

    @property
    def primes(self) -> list[Path]:
        """The user's files that clips continue, in turn."""
        return []

    @property
    def prompted(self) -> bool:
        """Whether clips continue something, so that their beginning is not generated."""
        return bool(self.primes)


@dataclass(frozen=True)
class StagePlan:
    """One trained part of an experiment, as the workflow plans it.

    Attributes:
        name: as in `stages:` of the configuration.
        settings: its network, training and weights.
        needs: the stages whose results it learns from, all trained with the same seed.
        encodes: whether it encodes the corpus, once trained, for the stages that need it; these
            then learn from its latents, others from its weights.
        borrows: latents of other experiments that it learns from too: experiment, stage, seed.
    """

    name: str
    settings: StageSettings
    needs: tuple[str, ...] = ()
    encodes: bool = False
    borrows: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class OneLine:
    """What `etude train` makes of one line.

    Attributes:
        preset: in config/presets, which the line is laid over; empty: the default alone.
        keys: of the experiment, which are written where the line does not name them.
        names: other names of keys, as options.
        chosen_by: `midi` or `audio`: the music by which a folder chooses this system.
    """

    preset: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    chosen_by: str = ""


class ExperimentBase(Section):
    """An experiment: a system, a corpus, and how it is trained and played."""

    # ------------------------------------------------------------------ what the system can do
    trained: ClassVar[bool] = True  # Étude trains it; what others made is measured, not judged
    makes: ClassVar[frozenset[str]] = frozenset({"audio"})  # and "notes"
    conditions: ClassVar[frozenset[str]] = frozenset()  # recording, midi, text, length, concept
    likelihood: ClassVar[bool] = False  # has a perplexity of held-out tokens
    continues: ClassVar[bool] = False  # can be given the beginnings of training items
    latent_space: ClassVar[bool] = False  # its stage that encodes can encode the notes of any clip
    judges_concepts: ClassVar[bool] = False  # has `asked` (etude.systems.concept_queries)
    reads_captions: ClassVar[bool] = False  # learns from captions.csv of its corpus
    encodes_audio: ClassVar[bool] = False  # its stage that encodes reads the pieces' audio
    pretrained_kinds: ClassVar[tuple[str, ...]] = ()  # of `pretrained` that its stages can be
    proves_texts: ClassVar[bool] = False  # has `reader` to prove them (same module)
    # Sets that clips must beat, of those that every system has (RIVALS) and of its own.
    rivals: ClassVar[tuple[str, ...]] = ("untrained", "shuffled", *RIVALS)
    sets: ClassVar[Mapping[str, str]] = {}  # clip sets that it makes itself: name -> meaning
    # Trained stages that these sets are made with, of the first training seed.
    baseline_stages: ClassVar[tuple[str, ...]] = ()
    # Labels of the modules that results depend on, for: build, train, encode, generate, baselines,
    # continuation, likelihood. Labels are those of etude/workflow/versions.py and of `modules`.
    depends: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    modules: ClassVar[Mapping[str, str]] = {}  # its own: label -> module below etude/
    one_line: ClassVar[OneLine] = OneLine()

    system: str
    corpus: str = Field(description="a name from `corpora`")
    tokens: str = Field(description="a name from `tokens`")

    @property
    def builds_on(self) -> list[str]:
        """Names of other experiments of the configuration that it begins with."""
        return []

    if TYPE_CHECKING:  # keys of the systems that are trained; of others, properties
        generate: GenerateSettings
        seeds: Seeds

    def stage_plans(self) -> list[StagePlan]:
        """The trained parts, in the order of the configuration."""
        return []

    def stage(self, name: str) -> StageSettings:
        """The settings of one stage."""
        return next(plan.settings for plan in self.stage_plans() if plan.name == name)

    def roles(self, config: Config) -> dict[str, str]:
        """The tokenizers that it uses, by role: those of its token set."""
        return dict(config.tokens[self.tokens].roles)

    def cut_name(self, config: Config) -> str:
        """The name of the cut by which its clips are compared with real music."""
        return config.audio_tokens(self.tokens).cut

    def env(self, stage: str | None = None) -> str:
        """The environment (envs/<name>.yaml) of jobs that run the networks of a stage, or of all.

        One that is not the usual one needs the packages of requirements/<name>.txt.
        """
        return "torch"

    def labels(self, what: str, stage: str | None = None) -> tuple[str, ...]:
        """What results depend on, as labels; see `depends`."""
        return self.depends[what]

    def positions(self, config: Config) -> float:
        """Positions that all stages together predict in training, for estimates of its time."""
        return 0.0

    def check(self, where: str, config: Config) -> None:
        """See that what the experiment names fits together.

        Raises:
            ValueError: naming the key, `where` in front.
        """

    # ---------------------------------------------------------------------------- for the rules

    def own_networks(self, *stages: str) -> list[str]:
        """The `module:Class` of these stages, or of all, where the network is the user's own."""
        plans = [p for p in self.stage_plans() if not stages or p.name in stages]
        networks = [plan.settings.network for plan in plans]
        return [network.kind for network in networks if isinstance(network, PluginNetwork)]

    def untrained_params(self) -> str:
        """What decides the clips that these are compared with, as JSON for a rule's params."""
        return self.params()


class TrainedExperiment(ExperimentBase):
    """An experiment whose networks Étude trains."""

    stages: Any
    generate: GenerateSettings = GenerateSettings()
    seeds: Seeds = Seeds()

    # Keys of the experiment that a stage depends on besides corpus, tokens and its own section.
    stage_keys: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    stage_needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # as in StagePlan
    stage_encodes: ClassVar[tuple[str, ...]] = ()

    def stage_plans(self) -> list[StagePlan]:  # noqa: D102
        return [
            StagePlan(name, settings, self.stage_needs.get(name, ()), name in self.stage_encodes)
            for name, settings in self.stages
        ]

    def learns_from(self, stage: str) -> tuple[list[str], list[str]]:
        """The stages of whose weights a stage learns, and those of whose latents."""
        plans = {plan.name: plan for plan in self.stage_plans()}
        needs = plans[stage].needs
        weights = [name for name in needs if not plans[name].encodes]
        return weights, [name for name in needs if plans[name].encodes]

    def stage_params(self, stage: str) -> str:
        """All that decides one stage's training, as sorted JSON for a rule's `params`."""
        keys = {"system", "corpus", "tokens", *self.stage_keys.get(stage, ())}
        values = self.model_dump(mode="json", include=keys)
        settings = self.stage(stage)
        unused = {"training"} if settings.imported else set()
        own = settings.model_dump(mode="json", exclude=unused)
        return json.dumps(values | {"stages": {stage: own}}, sort_keys=True)

    def generate_params(self) -> str:
        """All that decides how clips are sampled: the experiment without its training, as JSON.

        Of the user's files it has the names only: they are inputs of the rule, and params must not
        say on which machine they lay.
        """
        keys = {"system", "corpus", "tokens", "generate"}.union(*self.stage_keys.values())
        values = self.model_dump(include=keys)
        values["stages"] = {plan.name: self._network_of(plan) for plan in self.stage_plans()}
        return json.dumps(values, sort_keys=True, default=lambda path: path.name)

    @staticmethod
    def _network_of(plan: StagePlan) -> dict[str, Any]:
        return plan.settings.model_dump(mode="json", include={"network"})

    def untrained_params(self) -> str:
        """All that decides the networks before training and how they are sampled."""
        unasked = {"generate": set(type(self.generate).conditions)}
        values = self.model_dump(mode="json", exclude=unasked)
        values["stages"] = {s: {"network": v.get("network")} for s, v in values["stages"].items()}
        values["seeds"] = {"train": values["seeds"]["train"][:1]}
        return json.dumps(values, sort_keys=True)


def known(name: str, names: Any, where: str, section: str) -> None:
    """See that a name is one of a section's.

    Raises:
        ValueError: naming the nearest.
    """
    if name not in names:
        raise ValueError(
            f"{where}: {name!r} is not in `{section}`{closest(name, names)}; "
            f"there: {', '.join(names) or 'nothing'}"
        )
