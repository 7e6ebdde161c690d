"""Clips that somebody else made -> a clip set like any other."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, Experiment, parse
    from etude.systems.external.importing import import_clips

    experiment = parse(Experiment, snakemake.params.experiment)
    rate = parse(Cut, snakemake.params.cut).rate
    import_clips(experiment.clips, rate, experiment.seconds, Path(snakemake.output.folder))
