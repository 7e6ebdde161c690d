"""`etude evaluate --experiment X --step N`: one checkpoint, measured as an experiment of its own.

It is a copy of the experiment, `X-step-N`, whose stages take the weights of that step where they
kept it (`training.keep_steps`) and the final ones elsewhere. Only its tables are made, below
results/metrics/X-step-N/: the run's own results stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from etude import config
from etude.config import Config
from etude.errors import UserError
from etude.runs import run_workflow
from etude.storage import read_csv, write_text
from etude.workflow.plan import Plan

FOLDER = Path(".snakemake/etude")  # of notes of a run


def evaluate_step(
    name: str, step: int | None, configfiles: Sequence[Path], cores: int | str = "all"
) -> int:
    """Make the tables of a checkpoint and print its distances; Snakemake's exit status.

    Raises:
        UserError: there is no such experiment, or no stage of it kept this step.
    """
    settings = config.read(config.DEFAULT, *configfiles)
    overlay = checkpoint_overlay(settings, name, step)
    (copy,) = overlay["experiments"]
    file = FOLDER / f"{copy}.yaml"
    write_text(file, yaml.safe_dump(overlay, sort_keys=False, allow_unicode=True))
    files = [*configfiles, file]
    tables = Plan(config.read(config.DEFAULT, *files)).tables_of(copy)
    wanted = list(dict.fromkeys(path for paths in tables.values() for path in paths))
    status = run_workflow(cores, *wanted, configfiles=files)
    if status == 0:
        print("\n".join(summary_lines(copy, [Path(path) for path in wanted])))
    return status


def checkpoint_overlay(settings: Config, name: str, step: int | None) -> dict[str, Any]:
    """The configuration of a checkpoint as an experiment, to be merged over that of its run.

    Raises:
        UserError: as `evaluate_step`.
    """
    if name not in settings.experiments:
        raise UserError(
            f"there is no experiment {name!r}{config.closest(name, settings.experiments)}",
            code="unknown-experiment",
            where="--experiment",
            do=f"use one of: {', '.join(settings.experiments)}",
        )
    experiment = settings.experiments[name]
    plans = [plan for plan in experiment.stage_plans() if not plan.settings.imported]
    kept = sorted({number for plan in plans for number in plan.settings.training.keep_steps})
    if step not in kept:
        raise UserError(
            f"no stage of {name} kept step {step}" if step else "which step is meant?",
            code="step-not-kept",
            where="--step",
            why=f"`training.keep_steps` names: {', '.join(map(str, kept)) or 'none'}",
            do="name one of these; or add the step to `keep_steps` and run the workflow again",
        )
    seed = experiment.seeds.train[0]
    copy = _plain(experiment.model_dump(exclude_unset=True)) | {"system": experiment.system}
    stages = copy.setdefault("stages", {})
    for plan in plans:
        stage = dict(stages.get(plan.name) or {})
        folder = f"results/models/{name}/{plan.name}/seed-{seed}"
        has = step in plan.settings.training.keep_steps
        stage["weights"] = {"path": f"{folder}/step-{step}.safetensors" if has else folder}
        training = {k: v for k, v in dict(stage.get("training") or {}).items() if k != "keep_steps"}
        stages[plan.name] = stage | {"training": training}
    copy["seeds"] = dict(copy.get("seeds") or {}) | {"train": [seed]}
    return {"experiments": {f"{name}-step-{step}": copy}, "run": [f"{name}-step-{step}"]}


def _plain(value: Any) -> Any:
    """Settings as YAML has them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def summary_lines(name: str, tables: Sequence[Path]) -> list[str]:
    """The distances of its clips, a line each, and where all tables are."""
    lines = [f"{name}: results/metrics/{name}/"]
    for table in tables:
        if table.name != "fad.csv":
            continue
        for row in read_csv(table):
            if row["clips"] == "generated" and row["value"]:
                interval = f" [{row['ci_low']}, {row['ci_high']}]" if row["ci_low"] else ""
                lines.append(f"  {row['metric']} {row['embedding']}: {row['value']}{interval}")
    return lines
