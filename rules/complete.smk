# What the results are made of, and what of it is complete when a run has failed.

import subprocess

GATED = [name for name in CONFIG.run if CONFIG.experiments[name].trained]
HASHES = {"code_hash": code_hash(), "env_hash": environment_hash()}


# Tidy tables of an experiment beside each clip set, and those of which only replicates are read.
# A new one: its name, and for which experiments there is a rule that makes it.
TABLES = {
    "fad.csv": lambda experiment: True,
    "memorisation.csv": lambda experiment: True,
    "symbolic.csv": lambda experiment: experiment.system == "symbolic_lm",
}
REPLICATES = {
    "replicates.csv": lambda experiment: True,
    "symbolic_replicates.csv": lambda experiment: experiment.system == "symbolic_lm",
}


def tables_of(name):
    """What the results of an experiment are read from, by the name of the input."""
    experiment = CONFIG.experiments[name]
    kinds = {"tables": TABLES, "replicates": REPLICATES}
    found = {
        kind: [
            f"results/metrics/{name}/{clips}/{file}"
            for clips in draws(name)
            for file, applies in files.items()
            if applies(experiment)
        ]
        for kind, files in kinds.items()
    }
    if experiment.system == "symbolic_lm":  # of a training, whatever is drawn from it
        seeds = experiment.seeds.train
        folders = [f"results/metrics/{name}/seed-{s}" for s in seeds]
        found["tables"] += [f"{folder}/perplexity.csv" for folder in folders]
        found["replicates"] += [f"{folder}/perplexity_replicates.csv" for folder in folders]
    return found


def of_each_kind():
    """The inputs of the leaderboard: of every experiment of the run."""
    every = [tables_of(name) for name in CONFIG.run]
    return {kind: [path for of in every for path in of[kind]] for kind in ("tables", "replicates")}


def tables_if_made(file):
    """A table of each clip set, of the experiments for which a rule makes it."""
    every = (path for name in CONFIG.run for path in tables_of(name)["tables"])
    return [path for path in every if Path(path).name == file]


def causes(dag, job, failed):
    """The failed jobs that a job waits for, itself included; the nearest first."""
    waiting, seen = [job], set()
    while waiting:
        here = waiting.pop(0)
        if here in seen or dag.noneedrun_finished(here):
            continue
        seen.add(here)
        if here in failed:
            yield here
        waiting += dag.dependencies[here]


def why_not_made(dag, job, failed):
    """What a row says in place of figures that could not be made."""
    cause = next(causes(dag, job, failed), None)
    if cause is None:
        return "the run stopped before it was made"
    return f"{cause.rule.name}, see {cause.log[0] if cause.log else 'the log of Snakemake'}"


def write_what_is_there():
    """After a failure: one experiment that failed does not take the table from the others."""
    dag, failed = workflow.dag, set()
    for job in workflow.scheduler.failed:
        failed |= set(getattr(job, "jobs", [job]))
    made = {str(path): job for job in dag.jobs for path in job.output}
    if "results/fad.txt" not in made:
        return
    plan = {"tables": [], "replicates": [], "failed": {}, "gated": GATED, "hashes": HASHES}
    plan["evaluation"] = CONFIG.evaluation.model_dump(mode="json")
    for name in CONFIG.run:
        for kind, paths in tables_of(name).items():
            for path in paths:
                if dag.noneedrun_finished(made[path]):
                    plan[kind].append(path)
                else:
                    why = why_not_made(dag, made[path], failed)
                    plan["failed"].setdefault(name, why)
    folder = Path(".snakemake", "etude")
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder, "partial.json").write_text(json.dumps(plan, indent=1, sort_keys=True))
    rest = [name for name in CONFIG.run if name not in plan["failed"]]
    # What --config said, and only the experiments that are complete.
    over = dict(workflow.config_settings.config) | {"run": rest}
    Path(folder, "partial.yaml").write_text(json.dumps(over))
    files = [*map(str, workflow.config_settings.configfiles), str(folder / "partial.yaml")]
    page = "results/report/index.html"
    command = [sys.executable, "-m", "etude", "table", "--partial", f"{folder}/partial.json"]
    if rest and page in made:
        command += ["--page", page, "--configfile", *files]
    path = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False)
