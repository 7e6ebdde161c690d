"""What is made to see where to stop: kept steps, clips of each, and a table of an experiment.

Only the first training seed keeps steps, and its clips are of the first draw.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from etude.config.embeddings import why_not
from etude.config.over_steps import checkpoints
from etude.plugins import plugin_label
from etude.workflow.data import Files, InputFunction
from etude.workflow.experiments import MODEL, ExperimentPlan


class OverStepsPlan(ExperimentPlan):
    """Checkpoints of experiments, as rules ask for them."""

    @property
    def measured_over_steps(self) -> Files:
        """The run's experiments whose checkpoints are measured."""
        return [name for name in self.config.evaluation.over_steps.experiments if name in self.run]

    def checkpoints_of(self, wildcards: Any) -> dict[str, dict[str, int]]:
        """The step of each stage that varies, by checkpoint; the end of the training is the last.

        Nothing of experiments whose checkpoints are not measured.
        """
        if wildcards.experiment not in self.measured_over_steps:
            return {}
        return checkpoints(self.config.evaluation.over_steps, self.experiment_of(wildcards))

    def earlier_checkpoints(self, wildcards: Any) -> dict[str, dict[str, int]]:
        """The same without the end, whose clips are the run's own."""
        return dict(list(self.checkpoints_of(wildcards).items())[:-1])

    def training_params(self, wildcards: Any) -> str:
        """A stage's settings as JSON; those of the first seed keep the steps that are measured."""
        experiment: Any = self.experiment_of(wildcards)  # a stage has one that is trained
        params = experiment.stage_params(wildcards.stage)
        earlier = self.earlier_checkpoints(wildcards)
        if not earlier or int(wildcards.seed) != experiment.seeds.train[0]:
            return params
        values = json.loads(params)
        training = values["stages"][wildcards.stage].get("training")
        wanted = {steps[wildcards.stage] for steps in earlier.values() if wildcards.stage in steps}
        if training is not None and wanted:
            training["keep_steps"] = sorted(wanted.union(training["keep_steps"]))
        return json.dumps(values, sort_keys=True)

    def kept_for_checkpoints(self, wildcards: Any) -> Files:
        """The weights of the earlier checkpoints."""
        about = {"experiment": wildcards.experiment, "seed": self.first_seeds(wildcards)[0]}
        return [
            f"{MODEL.format(stage=stage, **about)}/step-{step}.safetensors"
            for steps in self.earlier_checkpoints(wildcards).values()
            for stage, step in steps.items()
        ]

    def over_steps_tables(self) -> Files:
        """The tables of the run."""
        return [f"results/metrics/{name}/over_steps.csv" for name in self.measured_over_steps]

    def of_first(self, files: InputFunction | str) -> InputFunction:
        """An input function, or a pattern, for the first training and its first draw."""

        def found(wildcards: Any) -> Files:
            seed, draw = self.first_seeds(wildcards)
            about = {"seed": str(seed), "draw": str(draw), "clips": f"seed-{seed}/draw-{draw}"}
            about |= {"experiment": wildcards.experiment}
            if isinstance(files, str):
                return [files.format(**about)]
            return files(SimpleNamespace(**about))

        return found

    def first_seeds(self, wildcards: Any) -> tuple[int, int]:
        """The first training seed, and the first draw."""
        seeds = self.experiment_of(wildcards).seeds
        return seeds.train[0], seeds.generate[0]

    @property
    def embedding_over_steps(self) -> str:
        """The primary embedding; where it needs weights of others, the first that needs none."""
        settings = self.config.evaluation
        own = [name for name in settings.embeddings if not why_not(name)]
        return settings.primary_embedding if settings.primary_embedding in own else own[0]

    @property
    def label_over_steps(self) -> str:
        """What tables and files call it."""
        return plugin_label(self.embedding_over_steps)
