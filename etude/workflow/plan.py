"""Which files a run makes: all that the rules ask about the configuration, in one object.

`Plan(config)` answers from the configuration alone. Nothing here knows Snakemake, and no system is
asked for its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from etude.config import EMBEDDINGS, FADTK, ExperimentBase
from etude.config.embeddings import why_not
from etude.plugins import is_plugin, plugin_label
from etude.workflow.data import Files, InputFunction
from etude.workflow.over_steps import OverStepsPlan

Applies = Callable[[ExperimentBase], bool]


def always(_: ExperimentBase) -> bool:
    """Of every experiment."""
    return True


def makes_notes(experiment: ExperimentBase) -> bool:
    """Of experiments whose clips have notes."""
    return "notes" in experiment.makes


def has_likelihood(experiment: ExperimentBase) -> bool:
    """Of experiments whose model gives held-out tokens a probability."""
    return experiment.likelihood


def has_words(experiment: ExperimentBase) -> bool:
    """Of experiments whose learned words are measured."""
    return experiment.judges_concepts


def has_latent_space(experiment: ExperimentBase) -> bool:
    """Of experiments whose encoder makes latents of any clip's notes."""
    return experiment.latent_space


# What the results are read from: tables beside each clip set, and those of each training, with
# their replicates. A new one: its name, and for which experiments a rule makes it.
TABLES: dict[str, Applies] = {
    "fad.csv": always,
    "memorisation.csv": always,
    "symbolic.csv": makes_notes,
    "latents.csv": has_latent_space,
}
RIVALS: dict[str, Applies] = {"rivals.csv": always}  # what the gate compares clips with
OF_TRAININGS: dict[str, dict[str, Applies]] = {
    "tables": {"perplexity.csv": has_likelihood},
    "replicates": {"perplexity_replicates.csv": has_likelihood},
    "concepts": {"concept.csv": has_words},
}
KINDS: dict[str, dict[str, Applies]] = {
    "tables": TABLES,
    "replicates": {},
    "rivals": RIVALS,
    "concepts": {},
}


class Plan(OverStepsPlan):
    """All that the rules ask about a configuration."""

    # ------------------------------------------------------------------------- the whole run

    def corpora_run(self) -> Files:
        """The corpora of the run, each once."""
        return list(dict.fromkeys(experiment.corpus for experiment in self.run.values()))

    def wav_run(self) -> Files:
        """The folders of audio of the run's corpora."""
        corpora = self.corpora_run()
        return [f"results/corpora/{c}/wav/{shard}" for c in corpora for shard in self.shards_of(c)]

    def cut_folders_run(self) -> Files:
        """The cut folders of the run, each once."""
        pairs = {(e.corpus, e.cut_name(self.config)) for e in self.run.values()}
        return [
            f"results/cuts/{corpus}/{cut}/{shard}"
            for corpus, cut in sorted(pairs)
            for shard in self.shards_of(corpus)
        ]

    def packed_run(self) -> Files:
        """The packed token sets that the run's experiments are trained on."""
        trained = [e for e in self.run.values() if e.trained]
        return [f"results/packed/{e.corpus}/{e.tokens}" for e in trained]

    def token_summaries(self) -> Files:
        """What was counted in the run's symbolic tokens."""
        return [f"results/tokens/{corpus}/{tokens}/summary" for corpus, tokens in self._symbolic()]

    def symbolic_tables(self) -> Files:
        """What was counted in the run's symbolic tokens, and MidiLM's files where wanted."""
        return self.token_summaries() + [
            f"results/events/{corpus}/{tokens}/{shard}"
            for corpus, tokens in self._symbolic()
            if getattr(self.config.tokens[tokens], "write_events", False)
            for shard in self.shards_of(corpus)
        ]

    def _symbolic(self) -> list[tuple[str, str]]:
        pairs = {(e.corpus, e.tokens) for e in self.run.values()}
        return sorted(pair for pair in pairs if pair[1] in self.symbolic_sets)

    def stated_criteria(self) -> Files:
        """The verdicts of the run's experiments that have criteria."""
        return [f"results/criteria/{name}.txt" for name in self.with_criteria]

    @property
    def with_criteria(self) -> Files:
        """The run's experiments that have criteria."""
        return [name for name in self.run if name in self.config.criteria]

    # ----------------------------------------------------------------------------- embeddings

    @cached_property
    def plugin_embeddings(self) -> Files:
        """Embeddings that run here without any weights, as config names them."""
        return [name for name in self.config.evaluation.embeddings if not why_not(name)]

    @property
    def searched_embeddings(self) -> Files:
        """The same by their labels: in these memorisation is looked for."""
        return list(map(plugin_label, self.plugin_embeddings))

    @cached_property
    def runnable_embeddings(self) -> Files:
        """Labels of the configured embeddings that this environment can compute."""
        settings, pretrained = self.config.evaluation, self.config.pretrained
        names = settings.embeddings
        return [plugin_label(n) for n in names if not why_not(n, pretrained, fadtk=settings.fadtk)]

    def embeddings_by(self, road: str) -> Files:
        """Labels of the embeddings that one rule computes.

        Args:
            road: `here` (Étude's and the user's own), `pretrained` (by weights that config
                names), `fadtk`.
        """

        def of(name: str) -> str:
            if name in self.config.pretrained:
                return "pretrained"
            return "here" if name in EMBEDDINGS or is_plugin(name) else "fadtk"

        names = self.config.evaluation.embeddings
        known = (n for n in names if of(n) != "fadtk" or n in FADTK)
        return [plugin_label(name) for name in known if of(name) == road]

    @property
    def fadtk_claps(self) -> Files:
        """fadtk's CLAPs, which must order real music, its grains and noise."""
        return [name for name in self.embeddings_by("fadtk") if name.startswith("clap")]

    def verified_embeddings(self, wildcards: Any) -> Files:
        """The proofs that the CLAPs work: before anything is trained whose clips they judge."""
        claps = self.fadtk_claps if self.config.evaluation.fadtk else []
        names = [*self.embeddings_by("pretrained"), *claps]
        return [path for name in names for path in self._proof(name)(wildcards)]

    def verified_embedding(self, wildcards: Any) -> Files:
        """The proof that the embedding of the wildcards works; nothing where it needs none."""
        proven = (*self.embeddings_by("pretrained"), *self.fadtk_claps)
        named = wildcards.embedding in proven
        return self._proof(wildcards.embedding)(wildcards) if named else []

    def reading_clap(self) -> Files:
        """The weights of the first CLAP that can read descriptions; nothing where there is none."""
        return [f"results/pretrained/{name}" for name in self.embeddings_by("pretrained")[:1]]

    def verified_reading_clap(self, wildcards: Any) -> Files:
        """The proof that it works."""
        names = self.embeddings_by("pretrained")[:1]
        return [path for name in names for path in self._proof(name)(wildcards)]

    def _proof(self, embedding: str) -> InputFunction:
        return self.for_experiment(
            f"results/verified_embeddings/{{corpus}}/{{cut}}/{embedding}.csv"
        )

    def of_corpus_embeddings(self, wildcards: Any) -> Files:
        """The embeddings of the segments of an experiment's corpus."""
        folder = "results/memorisation/{corpus}/{cut}/embeddings"
        patterns = [f"{folder}/{name}.npz" for name in self.searched_embeddings]
        return [path for p in patterns for path in self.for_experiment(p)(wildcards)]

    # -------------------------------------------------------------------------------- results

    def tables_of(self, name: str) -> dict[str, Files]:
        """What the results of an experiment are read from, by the name of the input."""
        experiment = self.config.experiments[name]
        folder = f"results/metrics/{name}"
        found = {
            kind: [
                f"{folder}/{clips}/{file}"
                for clips in self.draws(name)
                for file, applies in files.items()
                if applies(experiment)
            ]
            for kind, files in KINDS.items()
        }
        for kind, files in OF_TRAININGS.items():  # of a training, whatever is drawn from it
            found[kind] += [
                f"{folder}/seed-{seed}/{file}"
                for file, applies in files.items()
                if applies(experiment)
                for seed in experiment.seeds.train
            ]
        return found

    def of_each_kind(self) -> dict[str, Files]:
        """The inputs of the leaderboard: of every experiment of the run."""
        every = [self.tables_of(name) for name in self.run]
        found = {kind: [path for of in every for path in of[kind]] for kind in KINDS}
        found["tables"] += self.listening()
        return found

    def listening(self) -> Files:
        """What listeners preferred (`etude table --ratings`), if they were asked."""
        paths = [f"results/listening/{name}.csv" for name in self.run]
        return [path for path in paths if Path(path).is_file()]

    def tables_if_made(self, file: str) -> Files:
        """A table of each clip set or training, of the experiments for which a rule makes it."""
        every = (path for name in self.run for path in chain(*self.tables_of(name).values()))
        return [path for path in every if PurePosixPath(path).name == file]

    @property
    def gated(self) -> Files:
        """The experiments of the run that are judged: those that Étude trains, or all by option."""
        every = self.config.evaluation.gate_external
        return [name for name, experiment in self.run.items() if experiment.trained or every]
