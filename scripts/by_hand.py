"""Run the script of one output in this process: for an IDE, a debugger, a profiler.

    python scripts/by_hand.py results/fad.txt --configfile mine.yaml

is what the workflow would do for that output, without the workflow around it: breakpoints in
scripts/ and etude/ are met. Or, to look at what a script is given,

    from by_hand import jobs
    snakemake = jobs(["results/fad.txt"], ["mine.yaml"])[0].snakemake

The inputs must be there; the output is written, whether it was up to date or not, so the next run
of the workflow may make again what depends on it.
"""

import argparse
import logging
import os
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SNAKEFILE = Path(__file__).resolve().parent.parent / "Snakefile"


@dataclass
class Job:
    """What the workflow would run for an output: a script, and the `snakemake` that it is given."""

    script: Path
    snakemake: Any

    def run(self):
        """Run the script as Snakemake would, in this process."""
        missing = [path for path in self.snakemake.input if not Path(path).exists()]
        if missing:
            sys.exit(
                f"{missing[0]} is not there yet; make what this job reads:\n"
                f"  snakemake --cores all {' '.join(missing)}"
            )
        for path in (*self.snakemake.output, *self.snakemake.log):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        if str(self.script.parent) not in sys.path:
            sys.path.insert(0, str(self.script.parent))
        runpy.run_path(str(self.script), {"snakemake": self.snakemake}, run_name="__main__")


def jobs(targets, configfiles=(), snakefile=SNAKEFILE, cores=None, before=False):
    """The jobs that make these outputs, planned by Snakemake itself in a dry run.

    With `before` also those that make what they need, and without targets all jobs of the run that
    have a script, in an order in which they can run.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
    )

    output = OutputSettings(
        dryrun=True,
        quiet={Quietness.ALL},
        log_level_override=logging.ERROR,
        enable_file_logging=False,
    )
    with SnakemakeApi(output) as api:
        try:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=cores or os.cpu_count()),
                config_settings=ConfigSettings(configfiles=[Path(p) for p in configfiles]),
                snakefile=Path(snakefile),
            )
            dag = workflow.dag(DAGSettings(targets=set(targets), force_incomplete=True))
            dag.execute_workflow(executor="dryrun")
            # The one look behind Snakemake's own doors: its API tells of files, not of jobs.
            planned = workflow._workflow.dag.jobs  # noqa: SLF001
            by_output = {str(path): job for job in planned for path in job.output}
            if before or not targets:
                levels = workflow._workflow.dag.toposorted()  # noqa: SLF001
                ordered = (job for level in levels for job in sorted(level, key=_name))
                return [_job(job) for job in ordered if job.rule.script]
            return [_job(by_output[target]) for target in targets]
        except Exception as error:  # noqa: BLE001 (Snakemake says what is wrong, and where)
            api.print_exception(error)
            sys.exit(1)


def _name(job):
    return job.rule.name, str(job.output)


def _job(job):
    from snakemake.iocontainers import Snakemake

    script = Path(job.rule.basedir.join(job.rule.script)).resolve()
    given = Snakemake(
        job.input, job.output, job.params, job.wildcards, job.threads, job.resources, job.log,
        job.dag.workflow.config, job.rule.name, None, str(script.parent),
    )  # fmt: skip
    return Job(script, given)


def main():
    """Plan, then run one script after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "outputs", nargs="*", help="files or folders that the workflow makes; none: all of the run"
    )
    parser.add_argument("--before", action="store_true", help="also make what these outputs need")
    parser.add_argument("--configfile", nargs="+", default=[], help="as for snakemake")
    parser.add_argument("--snakefile", default=SNAKEFILE, help="another than Étude's own")
    parser.add_argument("--directory", default=".", help="where results/ is")
    parser.add_argument("--cores", type=int, help="all")
    options = parser.parse_args()
    configfiles = [Path(path).resolve() for path in options.configfile]
    os.chdir(options.directory)
    snakefile = Path(options.snakefile).resolve()
    for job in jobs(options.outputs, configfiles, snakefile, options.cores, options.before):
        print(f"{job.script.name}: {', '.join(job.snakemake.output)}", flush=True)
        job.run()


if __name__ == "__main__":
    main()
