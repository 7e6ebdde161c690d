"""Checkpoints of trainings as a ladder: with more steps, music that is nearer to real music.

One training of each experiment of the default configuration keeps the weights of some steps. Of
each, 64 clips are made, and measured as a model's are. Step 0 is the set `untrained`;
a stage that is over before a step stays as it is then.

$ETUDE_RESULTS may name the results/ of a finished run of the default configuration: corpus, tokens
and baselines are taken from it, trainings never. $ETUDE_CHECKPOINTS may name the folder of the run:
one that was killed goes on.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
from finished import start_from
from record import record, table
from scipy import stats
from workspace import Workspace

from etude.clips.progress import never
from etude.config import DEFAULT, Config, read
from etude.generation.clips import make_clips
from etude.generation.trained import LoadedExperiment, in_results
from etude.metrics.distances import Yardstick, measure_sets
from etude.metrics.embed import embed_set
from etude.metrics.notes.counterpoint import UNITS
from etude.metrics.notes.means import FROM_REAL
from etude.metrics.notes.measure import measure_folder
from etude.metrics.notes.score import read_measured, score_sets
from etude.metrics.registry import projection, residual_weight
from etude.metrics.samples import ReplicatedFigure
from etude.systems.base import Parts
from etude.workflow.imported_weights import MODEL

pytestmark = pytest.mark.proof

COMMAND = "pytest benchmarks/bench_checkpoints.py -m proof"
STEPS = (20, 60, 120, 240)
CLIPS = 64
EMBEDDED = ("harmony", "timbre", "time")
METRICS = ("kad", "frechet_distance", "mad")
OF_NOTES = ("symbolic_frechet", *(name + FROM_REAL for name in UNITS))
SHARED = ("corpora", "cuts", "tokens", "tokenizers", "packed", "clips/*/baselines")
SHARED += ("metrics/*/baselines",)
REAL, UNTRAINED = "real", "untrained"
FALLS = -0.9  # rank correlation of the primary metric with the steps, at the most

Figures = dict[str, dict[str, str]]  # by figure, by set


def checkpointed(settings: Config) -> dict:
    """An overlay that keeps the weights of STEPS, and validates at each."""
    experiments = {}
    for name in settings.run or ():
        plans = settings.experiments[name].stage_plans()
        stages = {
            plan.name: {"training": {
                "keep_steps": [step for step in STEPS if step < plan.settings.training.steps],
                "validate_every": STEPS[0],
            }} for plan in plans
        }  # fmt: skip
        experiments[name] = {"stages": stages}
    return {"experiments": experiments}


def train(workspace: Workspace) -> Config:
    """Train with checkpoints; the configuration."""
    overlay = workspace.config("checkpoints", checkpointed(read(DEFAULT)))
    settings = read(DEFAULT, overlay)
    targets = []
    for name in settings.run or ():
        experiment = settings.experiments[name]
        targets.append(f"results/clips/{name}/baselines")
        for plan in experiment.stage_plans():
            folder = f"results/models/{name}/{plan.name}/seed-0"
            kept = plan.settings.training.keep_steps
            targets += [f"{folder}/{MODEL}", *(f"{folder}/step-{s}.safetensors" for s in kept)]
        if "notes" in experiment.makes:
            targets.append(f"results/metrics/{name}/baselines/symbolic_clips.json")
            targets += [f"results/corpora/{experiment.corpus}/{f}" for f in WORDS]
    workspace.run(*targets, configs=[overlay])
    return settings


WORDS = ("harmony.w2v.txt", "chord_changes.csv")


def at(trained: LoadedExperiment, step: int, folder: Path) -> Parts:
    """An experiment's parts as they were at a step."""
    models = {}
    for stage, source in trained.parts.models.items():
        models[stage] = folder / stage
        shutil.copytree(source, models[stage])
        kept = source / f"step-{step}.safetensors"
        if kept.is_file():
            shutil.copy(kept, models[stage] / MODEL)
    return replace(trained.parts, models=models)


def make(trained: LoadedExperiment, clips: Path) -> None:
    """Clips of every step, a folder each."""
    experiment = trained.experiment
    generate = experiment.generate.model_copy(update={"clips": CLIPS})
    few = experiment.model_copy(update={"generate": generate})
    for step in STEPS:
        parts = at(trained, step, clips.parent / "weights" / f"step-{step}")
        make_clips(few, parts, trained.seed, 0, clips / f"step-{step}", should_stop=never)


def distances(clips: Path, baselines: Path, rate: int) -> Iterator[tuple[str, str, str]]:
    """(figure, set, value with its interval) by the embeddings."""
    folders = {UNTRAINED: baselines / UNTRAINED, REAL: baselines / REAL}
    folders |= {path.name: path for path in clips.iterdir()}
    for embedding in EMBEDDED:
        space = *projection(embedding), residual_weight(embedding)
        yardstick = Yardstick(embed_set(baselines / "reference", embedding, rate), *space)
        sets = {name: embed_set(path, embedding, rate) for name, path in folders.items()}
        found = measure_sets(yardstick, sets, {}, METRICS, like=f"step-{STEPS[0]}")
        for name, metric, _, figure in found:
            if isinstance(figure, ReplicatedFigure):
                yield f"{embedding} {metric}", name, with_interval(figure, metric)


def with_interval(figure: ReplicatedFigure, metric: str) -> str:
    if figure.interval is None or metric != "kad":
        return f"{figure.value:.2f}"
    low, high = figure.interval
    return f"{figure.value:.2f} [{low:.2f}, {high:.2f}]"


def of_notes(clips: Path, name: str, corpus: Path) -> Iterator[tuple[str, str, str]]:
    """The same by notes."""
    measured = clips.parent / "notes.json"
    measure_folder(clips, measured, compat="", most=CLIPS, harmony_clips=0, threads=1)
    baselines = Path("results/metrics", name, "baselines/symbolic_clips.json")
    sets = read_measured(measured, baselines, *(corpus / file for file in WORDS), compat="")
    kept = {key: sets[key] for key in sets if key in ("reference", REAL, UNTRAINED)}
    kept |= {key: sets[key] for key in sets if key.startswith("step-")}
    rows, _ = score_sets(kept, {"smoothing": "jeffreys", "compat": "", "replicates": 2})
    for row in rows:
        if row["metric"] in OF_NOTES and row.get("value"):
            yield row["metric"], row["clips"], f"{float(row['value']):.3g}"


def losses(trained: LoadedExperiment) -> Iterator[tuple[str, str, str]]:
    """The loss of the held-out music, of each stage."""
    for stage, folder in trained.parts.models.items():
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = {int(row["step"]): row["valid_loss"] for row in csv.DictReader(file)}
        for step in STEPS:
            last = min(step, max(rows))
            yield f"held-out loss, {stage}", f"step-{step}", rows[last]


def listen(trained: LoadedExperiment, settings: Config) -> Figures:
    """All figures of an experiment's checkpoints."""
    name, experiment = trained.name, trained.experiment
    clips = Path("checkpoints", name, "clips")
    if not clips.is_dir():
        make(trained, clips)
    rate = settings.cuts[experiment.cut_name(settings)].rate
    found: Figures = {}
    rows = [*distances(clips, Path("results/clips", name, "baselines"), rate), *losses(trained)]
    if "notes" in experiment.makes:
        rows += of_notes(clips, name, Path("results/corpora", experiment.corpus))
    for figure, of, value in rows:
        found.setdefault(figure, {})[of] = value
    return found


def order(found: dict[str, str]) -> float:
    """Spearman's correlation of a figure with the steps; NaN of fewer than three."""
    there = [f"step-{step}" for step in STEPS if f"step-{step}" in found]
    names = [UNTRAINED, *there] if UNTRAINED in found else there
    values = [float(found[name].split()[0]) for name in names]
    return float(stats.spearmanr(range(len(values)), values).statistic)


def test_with_more_steps_clips_are_nearer_to_real_music(tmp_path):
    workspace = Workspace(Path(os.environ.get("ETUDE_CHECKPOINTS", tmp_path)))
    if not (workspace.folder / "results").is_dir():
        start_from(workspace.folder, SHARED)
    settings, lines, orders = train(workspace), [], {}
    sets = [UNTRAINED, *(f"step-{step}" for step in STEPS), REAL]
    for name in settings.run or ():
        with chdir(workspace.folder):
            found = listen(in_results(settings, name, 0), settings)
        orders[name] = {figure: order(values) for figure, values in found.items()}
        rows = [
            [figure, *(values.get(key, "") for key in sets), f"{orders[name][figure]:.1f}"]
            for figure, values in found.items()
        ]
        head = [f"**{name}**", "0", *map(str, STEPS), REAL, "rank correlation"]
        lines += [*table(head, rows), ""]
    told = f"{CLIPS} clips of each step; KAD with its 95 % interval. One training of each."
    record("The ladder of checkpoints", COMMAND, [told, "", *lines[:-1]])
    metric, embedding = settings.evaluation.deciding
    for name, of in orders.items():
        assert of[f"{embedding} {metric}"] <= FALLS, name
