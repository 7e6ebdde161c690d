"""Evaluation: one set of metrics, one protocol for every experiment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from etude.config.base import Distinct, ModuleClass, Section, nearest
from etude.config.embeddings import EMBEDDINGS, FADTK
from etude.config.memorisation import Memorisation
from etude.config.symbolic_metrics import SymbolicMetrics
from etude.own import is_own, label

GATED = ("timbre", "harmony")  # `time` is told until it is proven on more than one corpus


class Evaluation(Section):
    """Metrics: one set, one protocol for every experiment."""

    embeddings: Annotated[list[str], Distinct] = Field(
        ["timbre", "harmony", "time"],
        min_length=1,
        description=f"embeddings of the Fréchet distances, at least one that runs here "
        f"({', '.join(EMBEDDINGS)}, or your own `module:Class`); a name of `pretrained` of kind "
        f"clap; or, with `fadtk: true`: {', '.join(FADTK)}",
    )
    signals: Annotated[list[ModuleClass], Distinct] = Field(
        [], description="metrics of your own on single clips, `module:Class` each"
    )
    options: dict[str, dict[str, Any]] = Field(
        {}, description="options of your own embeddings and signals, by their `module:Class`"
    )
    fadtk: bool = Field(
        False,
        description="run fadtk's embeddings in its own environment (needs --sdm conda, or fadtk "
        "in the environment at hand); it fetches its weights itself",
    )
    verify: Literal["strict", "report"] = Field(
        "strict",
        exclude_if=lambda wanted: wanted == "strict",  # a key that is not used scores nothing anew
        description="as in `pretrained`, for fadtk's CLAPs: `strict`: nothing is trained where "
        "they do not order real music, its grains and noise; `report`: the table says so",
    )
    seed: int = Field(0, ge=0, description="choice of real segments, noise and shuffles")
    gate_ratio: float = Field(
        0.7, gt=0, description="FD must be under this share of the better of shuffled and untrained"
    )
    gate_embeddings: Annotated[list[str], Distinct] = Field(
        list(GATED),
        description="embeddings by which clips must be nearer to real music than each rival: "
        "clearly on one, clearly farther on none; names of `embeddings`",
    )
    gate_clips: int = Field(
        64, ge=2, description="the gate decides nothing on distances of fewer clips than this"
    )
    gate_harmony: float = Field(
        0.85, ge=0, description="et_grid must reach this share of the corpus's own"
    )
    gate_copied: float = Field(
        0.05,
        ge=0,
        le=1,
        description="at most this share of clips may be nearer to the training music than 99 % of "
        "held-out real clips are; where memorisation is n/a the gate leaves it out",
    )
    memorisation: Memorisation = Field(
        Memorisation(), description="whether clips repeat the training music"
    )

    symbolic: SymbolicMetrics = SymbolicMetrics()

    def check_embeddings(self, pretrained: Iterable[str]) -> None:
        """See that every embedding is known, and that one can run.

        Args:
            pretrained: names of pretrained weights that are embeddings.

        Raises:
            ValueError: naming the one that is not, or what to add.
        """
        names, known = self.embeddings, (*EMBEDDINGS, *FADTK, *pretrained)
        for name in names:
            if name not in known and not is_own(name):
                raise ValueError(
                    f"evaluation.embeddings: there is no embedding {name!r}{nearest(name, known)}; "
                    f"there are: {', '.join(known)}"
                )
        if not any(name in EMBEDDINGS or is_own(name) for name in names):
            raise ValueError(
                f"evaluation.embeddings: none of {', '.join(names)} can run here, "
                "so nothing would be measured; "
                f"add one of: {', '.join(EMBEDDINGS)}"
            )

    @model_validator(mode="after")
    def _gated_embeddings_are_measured(self) -> Evaluation:
        given = "gate_embeddings" in self.model_fields_set
        for name in self.gate_embeddings if given else ():
            if name not in self.embeddings:
                raise ValueError(
                    f"gate_embeddings: {name!r} is not among `embeddings`"
                    f"{nearest(name, self.embeddings)}; there: {', '.join(self.embeddings)}"
                )
        if not given:  # of other embeddings than the default's, all that are there decide
            kept = [name for name in self.gate_embeddings if name in self.embeddings]
            here = [name for name in self.embeddings if name in EMBEDDINGS or is_own(name)]
            object.__setattr__(self, "gate_embeddings", kept or here)
        return self

    @model_validator(mode="after")
    def _own_parts_are_told_apart(self) -> Evaluation:
        own = [name for name in (*self.embeddings, *self.signals) if is_own(name)]
        for name in self.options:
            if name not in own:
                raise ValueError(
                    f"options: {name!r} is in neither `embeddings` nor `signals`"
                    f"{nearest(name, own)}; there: {', '.join(own) or 'nothing of your own'}"
                )
        labels = [label(name) for name in (*self.embeddings, *self.signals)]
        if twice := [name for i, name in enumerate(labels) if name in labels[:i]]:
            raise ValueError(f"two classes are called {twice[0]!r}; tables name them by it")
        return self
