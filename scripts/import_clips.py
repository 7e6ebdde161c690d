"""Clips that somebody else made -> a clip set like any other."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, Experiment, parse
    from etude.systems import open_system

    experiment = parse(Experiment, snakemake.params.experiment)
    rate = parse(Cut, snakemake.params.cut).rate
    open_system(experiment.system).bring(experiment, rate, Path(snakemake.output.folder))
