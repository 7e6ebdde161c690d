"""Evaluation: one set of metrics, one protocol for every experiment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from etude.config.base import Distinct, ModuleClass, Section, closest, fault
from etude.config.concepts import ConceptMetrics
from etude.config.embeddings import EMBEDDINGS, FADTK
from etude.config.memorisation import Memorisation
from etude.config.over_steps import OverSteps
from etude.config.symbolic_metrics import SymbolicMetrics
from etude.plugins import is_plugin, plugin_label

GATE_EMBEDDINGS = ("timbre", "harmony")  # `time` is told until it is proven on more than one corpus
# What became of keys that judged by a ratio of Fréchet distances, which random notes passed.
REPLACED = {
    "gate_ratio": "clips must be nearer to real music than each rival by the interval of KAD on "
    "`gate_embeddings`",
    "gate_harmony": "harmony is one of `gate_embeddings`",
}
BOUNDS = "the gate fails above it, and is undecided where three times as much is possible (95 %)"


class PrimarySettings(Section):
    """The one metric that decides between systems; all others are exploratory."""

    metric: Literal["kad", "frechet_distance", "fad_infinity", "mad"] = Field(
        "kad", description="distance, as leaderboard.csv calls it"
    )
    embedding: str = Field("harmony", description="one of `embeddings`")


class Evaluation(Section):
    """Metrics: one set, one protocol for every experiment."""

    embeddings: Annotated[list[str], Distinct] = Field(
        ["timbre", "harmony", "time"],
        min_length=1,
        description=f"embeddings of the Fréchet distances, at least one that runs here "
        f"({', '.join(EMBEDDINGS)}, or your own `module:Class`); a name of `pretrained` of kind "
        f"clap; or, with `fadtk: true`: {', '.join(FADTK)}",
    )
    primary: PrimarySettings = Field(
        PrimarySettings(),
        description="the metric that decides which experiment is better (Holm's correction over"
        " all pairs); all others are exploratory (Benjamini and Hochberg). Choose "
        "it before the run. If harmony is not among `embeddings`, the first of them"
        " that runs here takes its place, and fad.txt says so",
    )
    signals: Annotated[list[ModuleClass], Distinct] = Field(
        [], description="metrics of your own on single clips, `module:Class` each"
    )
    distances: Annotated[list[ModuleClass], Distinct] = Field(
        [],
        exclude_if=lambda names: not names,  # an unused key scores nothing again
        description="distances of your own between two sets of clips, `module:Class` each, in "
        "every embedding; they decide nothing",
    )
    options: dict[str, dict[str, Any]] = Field(
        {},
        description="options of your own embeddings, signals and distances, by their "
        "`module:Class`",
    )
    fadtk: bool = Field(
        False,
        description="run fadtk's embeddings in its own environment (needs --sdm conda, or fadtk"
        " in the current environment); it downloads its weights itself",
    )
    verify: Literal["strict", "report"] = Field(
        "strict",
        exclude_if=lambda wanted: wanted == "strict",  # an unused key scores nothing again
        description="as in `pretrained`, for fadtk's CLAPs: `strict`: nothing is trained if "
        "they do not rank real music before its grains and noise; `report`: the "
        "table says so",
    )
    seed: int = Field(0, ge=0, description="choice of real segments, noise and shuffles")
    gate_embeddings: Annotated[list[str], Distinct] = Field(
        list(GATE_EMBEDDINGS),
        min_length=1,
        description="some of `embeddings`: by KAD, clips must be nearer to real music than each"
        " rival on the primary embedding (or on at least one, if the primary is not"
        " named here), and farther on none",
    )
    gate_clips: int = Field(
        64, ge=2, description="with fewer clips than this the gate decides nothing about distances"
    )
    gate_silent: float = Field(0.02, gt=0, lt=0.3, description=f"share of silent clips; {BOUNDS}")
    gate_copied: float = Field(
        0.05,
        gt=0,
        lt=0.3,
        description="share of clips that are nearer to the training music than 99 % of held-out "
        f"real clips are; {BOUNDS}",
    )
    gate_extracted: float = Field(
        0.05,
        gt=0,
        lt=0.3,
        description="share of training beginnings that are continued exactly, less that of "
        f"held-out ones; {BOUNDS}",
    )
    gate_external: bool = Field(False, description="let the gate judge clips that others made, too")
    memorisation: Memorisation = Field(
        Memorisation(), description="whether clips repeat the training music"
    )

    over_steps: OverSteps = Field(
        OverSteps(),
        exclude_if=lambda settings: not settings.experiments,  # off: nothing is made again
        description="where to stop training: distance and copies at earlier steps",
    )
    symbolic: SymbolicMetrics = SymbolicMetrics()
    concepts: ConceptMetrics = Field(ConceptMetrics(), description="for systems with learned words")

    def check_embeddings(self, pretrained: Iterable[str]) -> None:
        """See that every embedding is known, and that one can run.

        Args:
            pretrained: names of pretrained weights that are embeddings.

        Raises:
            ValueError: naming the one that is not, or what to add.
        """
        names, known = self.embeddings, (*EMBEDDINGS, *FADTK, *pretrained)
        for where, named in (("embeddings", names), ("gate_embeddings", self.gate_embeddings)):
            for name in named:
                if name not in known and not is_plugin(name):
                    raise fault(
                        "unknown-name",
                        f"evaluation.{where}: there is no embedding {name!r}"
                        f"{closest(name, known)}; there are: {', '.join(known)}",
                    )
        if not any(name in EMBEDDINGS or is_plugin(name) for name in names):
            raise fault(
                "no-embedding-runs",
                f"evaluation.embeddings: none of {', '.join(names)} can run here, "
                "so nothing would be measured; "
                f"add one of: {', '.join(EMBEDDINGS)}",
            )

        chosen = self.primary.embedding
        if chosen != PrimarySettings().embedding and chosen not in {
            *names,
            *map(plugin_label, names),
        }:
            raise fault(
                "unknown-name",
                f"evaluation.primary: the embedding {chosen!r} is not in evaluation.embeddings"
                f"{closest(chosen, names)}; there: {', '.join(names)}",
            )

    @property
    def deciding(self) -> tuple[str, str]:
        """Metric and embedding that decide, as tables name them."""
        return self.primary.metric, plugin_label(self.primary_embedding)

    @property
    def primary_embedding(self) -> str:
        """The embedding that decides by its whole name; the first that runs here stands in."""
        chosen = self.primary.embedding
        named = (name for name in self.embeddings if chosen in (name, plugin_label(name)))
        here = (name for name in self.embeddings if name in EMBEDDINGS or is_plugin(name))
        return next(named, next(here, self.embeddings[0]))

    @model_validator(mode="before")
    @classmethod
    def _keys_of_the_old_gate(cls, values: Any) -> Any:
        for key in REPLACED if isinstance(values, dict) else ():
            if key in values:
                raise fault("removed-key", f"{key}: is gone; take it out: {REPLACED[key]}")
        return values

    @model_validator(mode="after")
    def _gated_embeddings_are_measured(self) -> Evaluation:
        given = "gate_embeddings" in self.model_fields_set
        for name in self.gate_embeddings if given else ():
            if name not in self.embeddings:
                raise fault(
                    "unknown-name",
                    f"gate_embeddings: {name!r} is not among `embeddings`"
                    f"{closest(name, self.embeddings)}; there: {', '.join(self.embeddings)}",
                )
        if not given:  # of other embeddings than the default's, all that are there decide
            kept = [name for name in self.gate_embeddings if name in self.embeddings]
            here = [name for name in self.embeddings if name in EMBEDDINGS or is_plugin(name)]
            object.__setattr__(self, "gate_embeddings", kept or here)
        return self

    @model_validator(mode="after")
    def _plugin_labels_are_distinct(self) -> Evaluation:
        every = (*self.embeddings, *self.signals, *self.distances)
        own = [name for name in every if is_plugin(name)]
        for name in self.options:
            if name not in own:
                raise fault(
                    "unknown-name",
                    f"options: {name!r} is in none of `embeddings`, `signals`, `distances`"
                    f"{closest(name, own)}; there: {', '.join(own) or 'nothing of your own'}",
                )
        labels = list(map(plugin_label, every))
        if twice := [name for i, name in enumerate(labels) if name in labels[:i]]:
            raise fault(
                "same-class-name", f": two classes are called {twice[0]!r}; tables name them by it"
            )
        return self
