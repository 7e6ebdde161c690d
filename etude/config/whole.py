"""The whole configuration: its sections, and that their names resolve."""

from __future__ import annotations

import re
from typing import Any, cast

from pydantic import Field, model_validator

from etude.config.base import Section, fault
from etude.config.corpora import Corpus
from etude.config.criteria import Criteria
from etude.config.evaluation import Evaluation
from etude.config.over_steps import check_over_steps
from etude.config.page import Page
from etude.config.pretrained import Encodec, Hubert, Pretrained
from etude.config.studio import StudioSettings
from etude.config.sweeps import Sweep
from etude.config.symbolic_tokens import (
    EVENT_KINDS,
    SYMBOLIC_KINDS,
    AnyTokenizer,
    AnyTokenSet,
    SymbolicTokenSet,
)
from etude.config.systems import Experiment
from etude.config.systems.base import ExperimentBase
from etude.config.systems.base import known as _known
from etude.config.tokens import (
    ACOUSTIC_KINDS,
    SEMANTIC_KINDS,
    Cut,
    PluginTokenizer,
    Tokenizer,
    TokenSet,
)
from etude.errors import UserError
from etude.plugins import is_plugin

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Config(Section):
    """The whole configuration."""

    run: list[str] = Field(
        min_length=1, description="experiments to run; only what they need is planned"
    )
    corpora: dict[str, Corpus] = Field({}, description="named corpora")
    cuts: dict[str, Cut] = Field({}, description="named cuts")
    tokenizers: dict[str, AnyTokenizer] = Field({}, description="named tokenizers")
    pretrained: dict[str, Pretrained] = Field({}, description="named weights that others trained")
    tokens: dict[str, AnyTokenSet] = Field({}, description="named token sets")
    experiments: dict[str, Experiment] = Field({}, description="named experiments")
    sweep: dict[str, Sweep] = Field(
        {},
        description="named grids of experiments; a sweep's name in `run` stands for all of its "
        "experiments",
    )
    evaluation: Evaluation = Field(Evaluation(), description="the metrics' protocol")
    criteria: dict[str, Criteria] = Field(
        {}, description="what each experiment must reach, by its name"
    )
    report: Page = Field(Page(), description="what the report page holds")
    studio: StudioSettings = Field(
        StudioSettings(), description="what visitors of the studio may do"
    )

    @property
    def plugin_parts(self) -> dict[str, str]:
        """Every `module:Class` of the configuration, by the key that names it."""
        found = {f"corpora.{n}.source": c.source for n, c in self.corpora.items()}
        found |= {f"tokenizers.{n}.kind": t.kind for n, t in self.tokenizers.items()}
        for name, experiment in self.experiments.items():
            for stage in experiment.stage_plans():
                for kind in experiment.plugin_networks(stage.name):
                    found[f"experiments.{name}.stages.{stage.name}.network.kind"] = kind
        found |= {f"evaluation.embeddings: {name}": name for name in self.evaluation.embeddings}
        found |= {f"evaluation.signals: {name}": name for name in self.evaluation.signals}
        found |= {f"evaluation.distances: {name}": name for name in self.evaluation.distances}
        return {key: name for key, name in found.items() if is_plugin(name)}

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        for section in ("corpora", "cuts", "tokenizers", "pretrained", "tokens", "experiments"):
            for name in getattr(self, section):
                if not NAME.fullmatch(name):
                    raise fault(
                        "invalid-name",
                        f"{section}: the name {name!r} is not allowed; use letters, digits, "
                        "_ and -, with a letter first",
                    )
        for name in self.run:
            _known(name, (*self.experiments, *self.sweep), "run", "experiments")
        for name, criteria in self.criteria.items():
            _known(name, self.experiments, f"criteria.{name}", "experiments")
            for embedding in criteria.distance_below:
                where = f"criteria.{name}.distance_below"
                _known(embedding, self.evaluation.embeddings, where, "evaluation.embeddings")
        for name, tokenizer in self.tokenizers.items():
            where = f"tokenizers.{name}.fit"
            if not self.is_symbolic(name):
                cut = self.audio_tokenizer(name).fit.cut
                _known(cut, self.cuts, f"{where}.cut", "cuts")
                self._cut_suits(f"{where}.cut", cut, name)
            if tokenizer.fit.corpus is not None:
                _known(tokenizer.fit.corpus, self.corpora, f"{where}.corpus", "corpora")
            self._weights_resolve(f"tokenizers.{name}", tokenizer)
        claps = [name for name, weights in self.pretrained.items() if weights.kind == "clap"]
        self.evaluation.check_embeddings(claps)
        for name, tokens in self.tokens.items():
            self._token_set_resolves(f"tokens.{name}", tokens)
        for name, experiment in self.experiments.items():
            self._experiment_resolves(f"experiments.{name}", experiment)
        check_over_steps(self.evaluation.over_steps, dict(self.experiments))
        return self

    def _weights_resolve(self, where: str, tokenizer: Any) -> None:
        """What a pretrained tokenizer names is there, and of the kind that it needs."""
        if not isinstance(tokenizer, Hubert | Encodec):
            return
        named: dict[str, tuple[str, str]] = {"model": (tokenizer.model, tokenizer.kind)}
        if isinstance(tokenizer, Hubert) and tokenizer.centres is not None:
            named["centres"] = (tokenizer.centres, "kmeans")
        for key, (name, kind) in named.items():
            _known(name, self.pretrained, f"{where}.{key}", "pretrained")
            if (found := self.pretrained[name].kind) != kind:
                raise fault(
                    "weights-of-another-kind",
                    f"{where}.{key}: {name!r} is a {found}, needed is a {kind}",
                )

    def is_symbolic(self, tokenizer: str) -> bool:
        """Whether a tokenizer reads MIDI; a plugin, where a symbolic set names it."""
        kind = self.tokenizers[tokenizer].kind
        sets = (s for s in self.tokens.values() if isinstance(s, SymbolicTokenSet))
        named = any(s.tokenizer == tokenizer for s in sets)
        return kind in SYMBOLIC_KINDS or (is_plugin(kind) and named)

    def audio_tokens(self, name: str) -> TokenSet:
        """A token set of audio by its name.

        Raises:
            UserError: it is symbolic.
        """
        tokens = self.tokens[name]
        if isinstance(tokens, SymbolicTokenSet):
            raise UserError(
                f"the token set {name!r} is symbolic",
                code="token-set-not-of-audio",
                where=f"tokens.{name}",
                do="name one of audio here: with a cut, a semantic and an acoustic tokenizer",
            )
        return tokens

    def audio_tokenizer(self, name: str) -> Tokenizer:
        """A tokenizer of audio by its name; token sets of audio name no other."""
        return cast("Tokenizer", self.tokenizers[name])

    def _token_set_resolves(self, where: str, tokens: TokenSet | SymbolicTokenSet) -> None:
        if isinstance(tokens, SymbolicTokenSet):
            self._symbolic_set_resolves(where, tokens)
            return
        _known(tokens.cut, self.cuts, f"{where}.cut", "cuts")
        for role, kinds in (("semantic", SEMANTIC_KINDS), ("acoustic", ACOUSTIC_KINDS)):
            choice = getattr(tokens, role)
            _known(choice, self.tokenizers, f"{where}.{role}", "tokenizers")
            if not is_plugin(kind := self.tokenizers[choice].kind) and kind not in kinds:
                raise fault(
                    "tokenizer-of-another-kind",
                    f"{where}.{role}: {choice!r} is a {kind}, "
                    f"which is not {role}; allowed kinds: {', '.join(kinds)}",
                )
            self._cut_suits(f"{where}.cut", tokens.cut, choice)

    def _symbolic_set_resolves(self, where: str, tokens: SymbolicTokenSet) -> None:
        choice = tokens.tokenizer
        _known(choice, self.tokenizers, f"{where}.tokenizer", "tokenizers")
        kind = self.tokenizers[choice].kind
        if not is_plugin(kind) and kind not in SYMBOLIC_KINDS:
            raise fault(
                "tokenizer-of-another-kind",
                f"{where}.tokenizer: {choice!r} is a {kind}, which reads audio; allowed kinds: "
                f"{', '.join(SYMBOLIC_KINDS)} (audio: name a cut, a semantic and an acoustic one)",
            )
        if tokens.write_events and kind not in EVENT_KINDS:
            raise fault(
                "no-events",
                f"{where}.write_events: only {' and '.join(EVENT_KINDS)} have them; "
                f"{choice!r} is {kind}",
            )

    def _cut_suits(self, where: str, cut_name: str, tokenizer_name: str) -> None:
        """A tokenizer must find its rate and at least one frame in a segment."""
        cut, tokenizer = self.cuts[cut_name], self.audio_tokenizer(tokenizer_name)
        if isinstance(tokenizer, PluginTokenizer):  # it is asked when it is imported, in its jobs
            return
        about = f"{where}: {cut_name!r} has"
        if cut.rate < tokenizer.sample_rate:
            raise fault(
                "rates-differ",
                f"{about} rate {cut.rate}, but the tokenizer {tokenizer_name!r} needs "
                f"sample_rate {tokenizer.sample_rate}; audio is never converted upwards",
            )
        samples = round(cut.seconds * tokenizer.sample_rate)
        if samples < tokenizer.shortest:
            raise fault(
                "segment-too-short",
                f"{about} segments of {samples} samples ({cut.seconds:g} s), but a frame of the "
                f"tokenizer {tokenizer_name!r} needs {tokenizer.shortest}",
            )

    def _pretrained_stage_resolves(self, where: str, name: str, experiment: ExperimentBase) -> None:
        """A stage that is what others trained is of a kind that its system takes."""
        kinds = experiment.pretrained_kinds
        _known(name, self.pretrained, where, "pretrained")
        if (found := self.pretrained[name].kind) not in kinds:
            needed = " or ".join(kinds) or "none, it trains all itself"
            raise fault(
                "weights-of-another-kind", f"{where}: {name!r} is a {found}, needed is {needed}"
            )

    def _experiment_resolves(self, where: str, experiment: ExperimentBase) -> None:
        _known(experiment.corpus, self.corpora, f"{where}.corpus", "corpora")
        _known(experiment.tokens, self.tokens, f"{where}.tokens", "tokens")
        for plan in experiment.stage_plans():
            if plan.settings.weights is not None and plan.settings.weights.pretrained:
                name, place = plan.settings.weights.pretrained, f"{where}.stages.{plan.name}"
                self._pretrained_stage_resolves(f"{place}.weights.pretrained", name, experiment)
        experiment.check(where, self)
        _stages_resolve(where, experiment)


def _stages_resolve(where: str, experiment: ExperimentBase) -> None:
    """What a stage needs is there, and no stage waits for itself."""
    plans = {plan.name: plan for plan in experiment.stage_plans()}
    done: set[str] = set()
    while len(done) < len(plans):
        ready = [n for n, plan in plans.items() if n not in done and done.issuperset(plan.needs)]
        if not ready:
            left = {name: plan.needs for name, plan in plans.items() if name not in done}
            rows = "; ".join(f"{name} needs {', '.join(needs)}" for name, needs in left.items())
            raise fault(
                "stages-wait-for-each-other",
                f"{where}.stages: these stages wait for each other, or for one that is not there: "
                f"{rows}; stages: {', '.join(plans)}",
            )
        done.update(ready)
