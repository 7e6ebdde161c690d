"""The whole configuration: its sections, and that their names resolve."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from etude.config.base import Distinct, ModuleClass, Section, nearest
from etude.config.corpora import Corpus
from etude.config.embeddings import EMBEDDINGS, FADTK
from etude.config.sweeps import Sweep
from etude.config.systems import STAGE_DEFAULTS, AudioLm, Experiment, External
from etude.config.tokens import (
    ACOUSTIC_KINDS,
    SEMANTIC_KINDS,
    Cut,
    OwnTokenizer,
    Tokenizer,
    TokenSet,
)
from etude.own import is_own, label

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Evaluation(Section):
    """Metrics: one set, one protocol for every experiment."""

    embeddings: Annotated[list[str], Distinct] = Field(
        ["logmel"],
        min_length=1,
        description=f"embeddings of the Fréchet distances, at least one that runs here "
        f"({', '.join(EMBEDDINGS)}, or your own `module:Class`); others are named with fadtk's "
        f"command: {', '.join(FADTK)}",
    )
    signals: Annotated[list[ModuleClass], Distinct] = Field(
        [], description="metrics of your own on single clips, `module:Class` each"
    )
    options: dict[str, dict[str, Any]] = Field(
        {}, description="options of your own embeddings and signals, by their `module:Class`"
    )
    seed: int = Field(0, ge=0, description="choice of real segments, noise and shuffles")
    gate_ratio: float = Field(
        0.7, gt=0, description="FD must be under this share of the better of shuffled and untrained"
    )
    gate_clips: int = Field(
        16, ge=2, description="the gate decides nothing on distances of fewer clips than this"
    )
    gate_harmony: float = Field(
        0.85, ge=0, description="et_grid must reach this share of the corpus's own"
    )

    @field_validator("embeddings")
    @classmethod
    def _embeddings_are_known(cls, names: list[str]) -> list[str]:
        known = (*EMBEDDINGS, *FADTK)
        for name in names:
            if name not in known and not is_own(name):
                raise ValueError(
                    f"there is no embedding {name!r}{nearest(name, known)}; "
                    f"there are: {', '.join(known)}"
                )
        if not any(name in EMBEDDINGS or is_own(name) for name in names):
            raise ValueError(
                f"none of {', '.join(names)} can run here, so nothing would be measured; "
                f"add one of: {', '.join(EMBEDDINGS)}"
            )
        return names

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


class Config(Section):
    """The whole configuration."""

    run: list[str] = Field(
        min_length=1, description="experiments to run; only what they need is planned"
    )
    corpora: dict[str, Corpus] = Field({}, description="named corpora")
    cuts: dict[str, Cut] = Field({}, description="named cuts")
    tokenizers: dict[str, Tokenizer] = Field({}, description="named tokenizers")
    tokens: dict[str, TokenSet] = Field({}, description="named token sets")
    experiments: dict[str, Experiment] = Field({}, description="named experiments")
    sweep: dict[str, Sweep] = Field(
        {}, description="named grids of experiments; `run` takes a sweep's name for all of its own"
    )
    evaluation: Evaluation = Field(Evaluation(), description="the metrics' protocol")

    @property
    def own_parts(self) -> dict[str, str]:
        """Every `module:Class` of the configuration, by the key that names it."""
        found = {f"corpora.{n}.source": c.source for n, c in self.corpora.items()}
        found |= {f"tokenizers.{n}.kind": t.kind for n, t in self.tokenizers.items()}
        for name, experiment in self.experiments.items():
            if isinstance(experiment, AudioLm):
                for stage in STAGE_DEFAULTS:
                    for kind in experiment.own_networks(stage):
                        found[f"experiments.{name}.stages.{stage}.network.kind"] = kind
        found |= {f"evaluation.embeddings: {name}": name for name in self.evaluation.embeddings}
        found |= {f"evaluation.signals: {name}": name for name in self.evaluation.signals}
        return {key: name for key, name in found.items() if is_own(name)}

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        for section in ("corpora", "cuts", "tokenizers", "tokens", "experiments"):
            for name in getattr(self, section):
                if not NAME.fullmatch(name):
                    raise ValueError(
                        f"{section}: the name {name!r} is not allowed; use letters, digits, "
                        "_ and -, with a letter first"
                    )
        for name in self.run:
            _known(name, (*self.experiments, *self.sweep), "run", "experiments")
        for name, tokenizer in self.tokenizers.items():
            where = f"tokenizers.{name}.fit"
            _known(tokenizer.fit.cut, self.cuts, f"{where}.cut", "cuts")
            self._cut_suits(f"{where}.cut", tokenizer.fit.cut, name)
            if tokenizer.fit.corpus is not None:
                _known(tokenizer.fit.corpus, self.corpora, f"{where}.corpus", "corpora")
        for name, tokens in self.tokens.items():
            self._token_set_resolves(f"tokens.{name}", tokens)
        for name, experiment in self.experiments.items():
            self._experiment_resolves(f"experiments.{name}", experiment)
        return self

    def _token_set_resolves(self, where: str, tokens: TokenSet) -> None:
        _known(tokens.cut, self.cuts, f"{where}.cut", "cuts")
        for role, kinds in (("semantic", SEMANTIC_KINDS), ("acoustic", ACOUSTIC_KINDS)):
            choice = getattr(tokens, role)
            _known(choice, self.tokenizers, f"{where}.{role}", "tokenizers")
            if not is_own(kind := self.tokenizers[choice].kind) and kind not in kinds:
                raise ValueError(
                    f"{where}.{role}: {choice!r} is a {kind}, "
                    f"which is not {role}; allowed kinds: {', '.join(kinds)}"
                )
            self._cut_suits(f"{where}.cut", tokens.cut, choice)

    def _cut_suits(self, where: str, cut_name: str, tokenizer_name: str) -> None:
        """A tokenizer must find its rate and at least one frame in a segment."""
        cut, tokenizer = self.cuts[cut_name], self.tokenizers[tokenizer_name]
        if isinstance(tokenizer, OwnTokenizer):  # it is asked when it is imported, in its jobs
            return
        about = f"{where}: {cut_name!r} has"
        if cut.rate < tokenizer.sample_rate:
            raise ValueError(
                f"{about} rate {cut.rate}, but the tokenizer {tokenizer_name!r} needs "
                f"sample_rate {tokenizer.sample_rate}; audio is never converted upwards"
            )
        samples = round(cut.seconds * tokenizer.sample_rate)
        if samples < tokenizer.shortest:
            raise ValueError(
                f"{about} segments of {samples} samples ({cut.seconds:g} s), but a frame of the "
                f"tokenizer {tokenizer_name!r} needs {tokenizer.shortest}"
            )

    def _experiment_resolves(self, where: str, experiment: AudioLm | External) -> None:
        _known(experiment.corpus, self.corpora, f"{where}.corpus", "corpora")
        _known(experiment.tokens, self.tokens, f"{where}.tokens", "tokens")
        if isinstance(experiment, AudioLm):
            self._hop_suits(f"{where}.generate.hop", experiment)
            acoustic = self.tokenizers[self.tokens[experiment.tokens].acoustic]
            if isinstance(acoustic, OwnTokenizer):
                return
            if experiment.coarse_quantizers >= acoustic.quantizers:  # type: ignore[union-attr]
                raise ValueError(
                    f"{where}.coarse_quantizers: {experiment.coarse_quantizers} leaves nothing "
                    f"for the fine stage; the codec has {acoustic.quantizers} quantizers"  # type: ignore[union-attr]
                )

    def _hop_suits(self, where: str, experiment: AudioLm) -> None:
        """A window that moves on by more than its length would leave a gap."""
        hop, seconds = (
            experiment.generate.hop,
            self.cuts[self.tokens[experiment.tokens].cut].seconds,
        )
        if hop is not None and hop > seconds:
            raise ValueError(
                f"{where}: {hop:g} s is more than a window, which is {seconds:g} s long"
            )


def _known(name: str, names: Any, where: str, section: str) -> None:
    if name not in names:
        raise ValueError(
            f"{where}: {name!r} is not in `{section}`{nearest(name, names)}; "
            f"there: {', '.join(names) or 'nothing'}"
        )
