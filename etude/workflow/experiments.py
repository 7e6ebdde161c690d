"""What a run makes of its experiments: the graph of stages, their weights and latents, clips."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from etude.config import Config, Cut, ExperimentBase, StageSettings
from etude.workflow import imported_weights, sources
from etude.workflow.data import DataPlan, Files, InputFunction, fill, names_in
from etude.workflow.lineage import corpora_behind

MODEL = "results/models/{experiment}/{stage}/seed-{seed}"
LATENTS = "results/latents/{experiment}/{stage}/seed-{seed}"


class ExperimentPlan(DataPlan):
    """Experiments and their stages, as rules ask for them."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.run = {name: config.experiments[name] for name in config.run}

    def having(self, capability: str) -> Files:
        """The experiments that have a capability: `trained`, `likelihood`, `continues`, ..."""
        return [name for name, e in self.config.experiments.items() if getattr(e, capability)]

    def making(self, modality: str) -> Files:
        """The experiments whose clips have this modality: `audio`, `notes`."""
        return [name for name, e in self.config.experiments.items() if modality in e.makes]

    def experiment_of(self, wildcards: Any) -> ExperimentBase:
        """The settings of the experiment that the wildcards name."""
        return self.config.experiments[wildcards.experiment]

    def for_experiment(self, pattern: str) -> InputFunction:
        """An input function: the pattern with an experiment's corpus, tokens, cut and tokenizers.

        Nothing where it names a tokenizer of a role that the experiment has not.
        """

        def files(wildcards: Any) -> Files:
            experiment = self.experiment_of(wildcards)
            values: dict[str, str | Files] = {
                "corpus": experiment.corpus,
                "tokens": experiment.tokens,
                "cut": experiment.cut_name(self.config),
                "shard": self.shards_of(experiment.corpus),
                **self.tokenizers_of(wildcards),
            }
            # What is left open is of the rule's wildcards, or of a role that is not there.
            absent = (n for n in names_in(pattern) if n not in values and not hasattr(wildcards, n))
            return [] if any(absent) else fill(pattern, **values)

        return files

    def trained_here(self, pattern: str) -> InputFunction:
        """As `for_experiment`, and nothing for systems that Étude does not train."""
        files = self.for_experiment(pattern)
        return lambda wildcards: files(wildcards) if self.experiment_of(wildcards).trained else []

    def with_role(self, role: str, pattern: str) -> InputFunction:
        """As `for_experiment`, and nothing for experiments without a tokenizer of this role."""
        files = self.for_experiment(pattern)
        return lambda wildcards: files(wildcards) if role in self.tokenizers_of(wildcards) else []

    def tokenizers_of(self, wildcards: Any) -> dict[str, str]:
        """The folders of an experiment's fitted tokenizers, by role."""
        experiment = self.experiment_of(wildcards)
        roles = experiment.roles(self.config)
        return {role: self.fitted(name, experiment.corpus) for role, name in roles.items()}

    def tokenizer_folders(self, wildcards: Any) -> Files:
        """The same folders as a rule's input, in the order of `roles_of`."""
        return list(self.tokenizers_of(wildcards).values())

    def fits_together(self, wildcards: Any) -> int:
        """How many of a run's tokenizers of audio are fitted side by side."""
        fitted = {
            self.fitted(name, experiment.corpus)
            for experiment in self.run.values()
            for name in experiment.roles(self.config).values()
            if name in self.audio_tokenizers and not self.is_imported(name)
        }
        return len(fitted)

    def roles_of(self, wildcards: Any) -> list[str]:
        """What an experiment's tokenizers are for, one by one."""
        return list(self.tokenizers_of(wildcards))

    def captions_of(self, wildcards: Any) -> Files:
        """The captions of an experiment's corpus; nothing where its system reads none."""
        experiment = self.experiment_of(wildcards)
        reads = experiment.reads_captions
        return [f"results/corpora/{experiment.corpus}/captions.csv"] if reads else []

    def owners_of(self, wildcards: Any) -> Files:
        """Who owns the corpora that an experiment knows; nothing where no table says it."""
        corpora = corpora_behind(self.config, wildcards.experiment)
        owned = [name for name in corpora if self.config.corpora[name].ownership]
        return [f"results/corpora/{name}/owners.csv" for name in owned]

    def cut_of_experiment(self, wildcards: Any) -> Cut:
        """The cut by which an experiment's clips are compared with real music."""
        return self.config.cuts[self.experiment_of(wildcards).cut_name(self.config)]

    def rendering_of(self, wildcards: Any) -> str:
        """How an experiment's notes are played, as its corpus; nothing where it makes none."""
        experiment = self.experiment_of(wildcards)
        if "notes" not in experiment.makes:
            return ""
        return self.config.corpora[experiment.corpus].params("filter", "render")

    def soundfont_of(self, wildcards: Any) -> Files:
        """The user's SoundFont by which an experiment's notes are played; usually nothing."""
        makes = self.experiment_of(wildcards).makes
        return self.corpus_soundfont_of(wildcards) if "notes" in makes else []

    def corpus_soundfont_of(self, wildcards: Any) -> Files:
        """The user's SoundFont by which the corpus of an experiment is played; usually nothing."""
        corpus = self.experiment_of(wildcards).corpus
        return sources.soundfont_file(self.config.corpora[corpus])

    @property
    def read_texts(self) -> dict[str, str]:
        """Pretrained weights that stages are, and the system that opens them."""
        return {
            plan.settings.weights.pretrained: experiment.system
            for experiment in self.config.experiments.values()
            for plan in experiment.stage_plans()
            if plan.settings.weights is not None and plan.settings.weights.pretrained
            if experiment.proves_texts
        }

    def verified_texts(self, wildcards: Any) -> Files:
        """The proof that the pretrained weights of a stage know words; usually nothing."""
        weights = self.stage_of(wildcards).weights
        if weights is None or weights.pretrained not in self.read_texts:
            return []
        tokenizer = self.tokenizers_of(wildcards)["acoustic"]
        place = tokenizer.replace("tokenizers", "verified_texts", 1)
        return [f"{place}/{weights.pretrained}.csv"]

    def env_of(self, wildcards: Any) -> str:
        """The environment of a job that runs an experiment's networks, or those of a stage."""
        return self.experiment_of(wildcards).env(getattr(wildcards, "stage", None))

    # ------------------------------------------------------------------------- stage graph

    def stage_of(self, wildcards: Any) -> StageSettings:
        """The settings of the stage that the wildcards name."""
        return self.experiment_of(wildcards).stage(wildcards.stage)

    @property
    def stages(self) -> set[str]:
        """The names of all stages."""
        every = self.config.experiments.values()
        return {plan.name for experiment in every for plan in experiment.stage_plans()}

    def with_stage(self, *, imported: bool | None = None, encodes: bool | None = None) -> str:
        """A constraint on `{experiment}` in `{experiment}/{stage}/`: by what becomes of the stage.

        Args:
            imported: whether weights from elsewhere take the place of training; None: either.
            encodes: whether the stage encodes the corpus for others; None: either.
        """
        pairs = [
            f"{re.escape(name)}(?=/{plan.name}/)"
            for name, experiment in self.config.experiments.items()
            for plan in experiment.stage_plans()
            if imported in (None, plan.settings.imported) and encodes in (None, plan.encodes)
        ]
        return "|".join(pairs) or "none"

    def models_of(self, wildcards: Any) -> Files:
        """The weights of all stages of an experiment, of the seed that the wildcards name."""
        return self._of_stages(wildcards, f"{MODEL}/model.safetensors", encodes=None)

    def upstream_models(self, wildcards: Any) -> Files:
        """The weights that a stage learns from: of stages it needs that encode nothing."""
        return self._of_stages(wildcards, f"{MODEL}/model.safetensors", encodes=False)

    def encoding_models(self, wildcards: Any) -> Files:
        """The weights of an experiment's stages that encode the corpus."""
        return self._of_stages(wildcards, f"{MODEL}/model.safetensors", encodes=True)

    def trained_and_upstream(self, wildcards: Any) -> Files:
        """A trained stage's weights, and those that it learned from."""
        own = fill(
            f"{MODEL}/model.safetensors",
            experiment=wildcards.experiment,
            stage=wildcards.stage,
            seed=str(wildcards.seed),
        )
        return [*own, *self.upstream_models(wildcards)]

    def upstream_latents(self, wildcards: Any) -> Files:
        """The latents that a stage learns from: of stages that it needs and that encode.

        And those that it borrows from other experiments.
        """
        plans = self.experiment_of(wildcards).stage_plans()
        wanted = getattr(wildcards, "stage", None)  # none is named: of all of them
        borrowed = [
            LATENTS.format(experiment=experiment, stage=stage, seed=seed)
            for plan in plans
            if wanted in (None, plan.name)
            for experiment, stage, seed in plan.borrows
        ]
        return [*self._of_stages(wildcards, LATENTS, encodes=True), *borrowed]

    def audio_to_encode(self, wildcards: Any) -> Files:
        """The folders of audio that an encoding stage reads; usually none."""
        wav = self.for_experiment("results/corpora/{corpus}/wav/{shard}")
        return wav(wildcards) if self.experiment_of(wildcards).encodes_audio else []

    def pieces_to_encode(self, wildcards: Any) -> Files:
        """pieces.csv, if an encoding stage reads audio."""
        pieces = self.for_experiment("results/corpora/{corpus}/pieces.csv")
        return pieces(wildcards) if self.experiment_of(wildcards).encodes_audio else []

    def _of_stages(self, wildcards: Any, pattern: str, encodes: bool | None) -> Files:
        """The pattern for the stages that a stage needs, or for all where none is named."""
        plans = {plan.name: plan for plan in self.experiment_of(wildcards).stage_plans()}
        stage = getattr(wildcards, "stage", None)
        names = plans[stage].needs if stage else tuple(plans)
        chosen = [name for name in names if encodes in (None, plans[name].encodes)]
        return fill(
            pattern, experiment=wildcards.experiment, stage=chosen, seed=str(wildcards.seed)
        )

    def models_of_baselines(self, wildcards: Any) -> Files:
        """The weights of the stages that an experiment's own clip sets are made with."""
        return self._of_baselines(wildcards, f"{MODEL}/model.safetensors", encodes=None)

    def latents_of_baselines(self, wildcards: Any) -> Files:
        """The latents of these stages, where they encode."""
        return self._of_baselines(wildcards, LATENTS, encodes=True)

    def _of_baselines(self, wildcards: Any, pattern: str, encodes: bool | None) -> Files:
        experiment = self.experiment_of(wildcards)
        plans = [
            p
            for p in experiment.stage_plans()
            if p.name in experiment.baseline_stages or p.settings.imported
        ]
        chosen = [plan.name for plan in plans if encodes in (None, plan.encodes)]
        seed = str(experiment.seeds.train[0]) if chosen else ""
        return fill(pattern, experiment=wildcards.experiment, stage=chosen, seed=seed)

    def latents_of(self, experiment: str) -> dict[str, str]:
        """Where an experiment's stages encode the corpus to, by stage; `{seed}` is left open."""
        plans = self.config.experiments[experiment].stage_plans()
        return {
            plan.name: LATENTS.format(experiment=experiment, stage=plan.name, seed="{seed}")
            for plan in plans
            if plan.encodes
        }

    def latents_that_play(self, wildcards: Any) -> Files:
        """The same folders of the seed that the wildcards name, in the order of the stages."""
        folders = self.latents_of(wildcards.experiment).values()
        return [folder.format(seed=wildcards.seed) for folder in folders]

    def weights_of(self, wildcards: Any) -> Files:
        """The file of weights that config gives a stage; nothing where it begins at random."""
        settings = self.stage_of(wildcards).weights
        return imported_weights.weights_file(settings, wildcards.stage, wildcards.seed)

    def files_of(self, wildcards: Any) -> Files:
        """The user's own files that a stage learns from; usually none."""
        return [str(path) for path in self.stage_of(wildcards).files]

    def trainings(self) -> Iterator[tuple[str, str, StageSettings, int]]:
        """Experiment, stage, its settings and seed of every training of the run."""
        for name, experiment in self.run.items():
            for plan in experiment.stage_plans():
                for seed in experiment.seeds.train:
                    yield name, plan.name, plan.settings, seed

    def trainings_together(self, wildcards: Any) -> int:
        """How many trainings of the run can begin at once: those that need no other stage."""
        return sum(
            len(experiment.seeds.train)
            for experiment in self.run.values()
            for plan in experiment.stage_plans()
            if not (plan.settings.imported or plan.needs)
        )

    def kept_steps(self) -> Files:
        """Weights of the steps that config wants to keep."""
        return [
            f"results/models/{name}/{stage}/seed-{seed}/step-{step}.safetensors"
            for name, stage, settings, seed in self.trainings()
            for step in settings.training.keep_steps
        ]

    def histories(self) -> Files:
        """The training histories of the run; imported stages have none."""
        return [
            f"results/models/{name}/{stage}/seed-{seed}/history.csv"
            for name, stage, settings, seed in self.trainings()
            if not settings.imported
        ]

    def histories_of(self, wildcards: Any) -> Files:
        """The training histories of an experiment's stages, of each training seed."""
        folder = f"results/models/{wildcards.experiment}/"
        return [path for path in self.histories() if path.startswith(folder)]

    # ------------------------------------------------------------------------------- clips

    def draws(self, experiment: str) -> Files:
        """The clip sets of an experiment: every training seed with every generation seed."""
        settings = self.config.experiments[experiment]
        if not settings.trained:
            return ["seed-0/draw-0"]
        return [f"seed-{s}/draw-{d}" for s in settings.seeds.train for d in settings.seeds.generate]

    def draws_together(self, wildcards: Any) -> int:
        """How many sets of clips are generated side by side."""
        return sum(len(self.draws(name)) for name, e in self.run.items() if e.trained)

    def of_draws(self, pattern: str) -> InputFunction:
        """An input function: the pattern for every clip set of the experiment."""
        return lambda wildcards: fill(pattern, clips=self.draws(wildcards.experiment))

    def of_all_runs(self, pattern: str) -> Files:
        """The pattern for every experiment of the run and each of its clip sets."""
        return [
            path
            for name in self.run
            for path in fill(pattern, experiment=name, clips=self.draws(name))
        ]

    def queried_model(self, wildcards: Any) -> str:
        """The trained stage that is given beginnings of training items: a system's first."""
        stage = self.experiment_of(wildcards).stage_plans()[0].name
        folder = MODEL.format(experiment=wildcards.experiment, stage=stage, seed=wildcards.seed)
        return f"{folder}/model.safetensors"

    def extraction_of(self, wildcards: Any) -> Files:
        """How a trained model continued beginnings of training items; baselines have none."""
        if not self.experiment_of(wildcards).continues or wildcards.clips == "baselines":
            return []
        seed = wildcards.clips.partition("/")[0]
        return [f"results/metrics/{wildcards.experiment}/{seed}/extraction.csv"]
