"""Learned words and held-out music -> what each way of asking is worth."""

from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import ConceptMetrics, Experiment, parse
    from etude.metrics.concepts import write_concepts
    from etude.systems import open_system

    experiment = parse(Experiment, snakemake.params.experiment)
    settings = parse(ConceptMetrics, snakemake.params.settings)
    system, seed = open_system(experiment.system), int(snakemake.wildcards.seed)
    asked = system.asked(experiment, parts_of(snakemake), seed, settings)
    clap = [Path(folder) for folder in snakemake.input.get("clap", [])]
    write_concepts(asked, settings, Path(snakemake.output.table), next(iter(clap), None))
