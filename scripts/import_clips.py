"""Clips that somebody else made -> a clip set like any other."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, parse
    from etude.config.systems.external import External
    from etude.systems.external.importing import import_clips

    experiment = parse(External, snakemake.params.experiment)
    rate = parse(Cut, snakemake.params.cut).rate
    import_clips(experiment.clips, rate, experiment.seconds, Path(snakemake.output.folder))
