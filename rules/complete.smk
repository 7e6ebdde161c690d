# What the results are made of, and what of it is complete when a run has failed.

import subprocess

HASHES = {"code_hash": code_hash(CONFIG.plugin_parts.values()), "env_hash": environment_hash()}


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
    partial = {kind: [] for kind in plan.of_each_kind()}
    partial |= {"failed": {}, "gated": plan.gated, "hashes": HASHES}
    partial["evaluation"] = CONFIG.evaluation.model_dump(mode="json")
    for name in CONFIG.run:
        for kind, paths in plan.tables_of(name).items():
            for path in paths:
                if dag.noneedrun_finished(made[path]):
                    partial[kind].append(path)
                else:
                    why = why_not_made(dag, made[path], failed)
                    partial["failed"].setdefault(name, why)
    folder = Path(".snakemake", "etude")
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder, "partial.json").write_text(json.dumps(partial, indent=1, sort_keys=True))
    rest = [name for name in CONFIG.run if name not in partial["failed"]]
    # What --config said, and only the experiments that are complete.
    over = dict(OVER) | {"run": rest}
    Path(folder, "partial.yaml").write_text(json.dumps(over))
    files = [*map(str, FILES), str(folder / "partial.yaml")]
    page = "results/report/index.html"
    command = [sys.executable, "-m", "etude", "table", "--partial", f"{folder}/partial.json"]
    if rest and page in made:
        command += ["--page", page, "--configfile", *files]
    path = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False)
    # These files are dated before all that they are made of. Snakemake believes a date only where
    # it does not remember the contents of the inputs, which have not changed: so it must not.
    for made_now in (made[file] for file in ("results/fad.txt", page) if file in made):
        for file in made_now.output:
            workflow.persistence.cleanup_metadata(file)
