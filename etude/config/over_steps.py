"""Where to stop: which experiments are measured at which earlier steps of their training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from etude.config.base import Distinct, Section, closest, fault

if TYPE_CHECKING:
    from etude.config.systems.base import ExperimentBase, StagePlan

Share = Annotated[float, Field(gt=0, lt=1)]


class OverSteps(Section):
    """Distance and copies over the steps of a training (docs/where-to-stop.md)."""

    experiments: Annotated[list[str], Distinct] = Field(
        [], description="whose checkpoints are measured, of their first training seed; none: off"
    )
    at: Annotated[list[Share], Distinct] = Field(
        [0.25, 0.5],
        min_length=1,
        description="shares of each training's steps at which weights are kept; its end is always "
        "measured too",
    )

    @model_validator(mode="after")
    def _in_order(self) -> OverSteps:
        if self.at != sorted(self.at):
            raise fault("not-ascending", f"at: name the shares from low to high; it is {self.at}")
        return self


def stages_that_vary(experiment: ExperimentBase) -> list[StagePlan]:
    """The trained stages from which no other stage learns.

    What others learned from is taken as it is at the end: latents of an encoder that was stopped
    halfway are none that the next stage has ever met.
    """
    plans = experiment.stage_plans()
    needed = {name for plan in plans for name in plan.needs}
    return [plan for plan in plans if plan.name not in needed and not plan.settings.imported]


def steps_at(experiment: ExperimentBase, share: float) -> dict[str, int]:
    """The step of each stage that varies at a share of its training.

    Example:
        >>> from types import SimpleNamespace as Some
        >>> stage = Some(imported=False, training=Some(steps=130))
        >>> plan = Some(name="lm", needs=(), settings=stage)
        >>> steps_at(Some(stage_plans=lambda: [plan]), 0.25)
        {'lm': 32}
    """
    plans = stages_that_vary(experiment)
    return {plan.name: max(1, int(share * plan.settings.training.steps)) for plan in plans}


def key_of(share: float) -> str:
    """What a checkpoint is called in tables and folders: `at-0.25`; the end is `at-1`."""
    return f"at-{share:g}"


def checkpoints(settings: OverSteps, experiment: ExperimentBase) -> dict[str, dict[str, int]]:
    """The step of each stage that varies, by checkpoint, in their order; the end is the last."""
    return {key_of(share): steps_at(experiment, share) for share in (*settings.at, 1)}


def check_over_steps(settings: OverSteps, experiments: dict[str, ExperimentBase]) -> None:
    """See that the experiments have trainings whose steps can be kept.

    Raises:
        SettingError: naming the one that has not, and what to do.
    """
    for name in settings.experiments:
        where = f"evaluation.over_steps: {name!r}"
        if name not in experiments:
            raise fault(
                "unknown-name", f"{where} is not in `experiments`{closest(name, experiments)}"
            )
        plans = stages_that_vary(experiments[name])
        if not plans:
            raise fault(
                "nothing-is-trained", f"{where} trains nothing, so there are no steps; leave it out"
            )
        for plan in plans:
            training, key = plan.settings.training, f"stages.{plan.name}.training"
            if training.patience is not None:
                raise fault(
                    "may-stop-early",
                    f"{where} may stop before a step is made; set {key}.patience to null",
                )
            steps = [max(1, int(share * training.steps)) for share in settings.at]
            if len({*steps, training.steps}) <= len(steps):
                raise fault(
                    "too-few-steps",
                    f"{where} has {training.steps} steps in {plan.name}, too few for these shares "
                    f"to differ: {', '.join(f'{share:g}' for share in settings.at)}",
                )
