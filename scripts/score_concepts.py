"""Learned words and held-out music -> what each way of asking is worth."""

from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import ConceptMetrics, Experiment, parse_section
    from etude.metrics.concepts import Means, write_concepts
    from etude.metrics.registry import open_embedding
    from etude.systems import open_system

    experiment = parse_section(Experiment, snakemake.params.experiment)
    settings = parse_section(ConceptMetrics, snakemake.params.settings)
    system, seed = open_system(experiment.system), int(snakemake.wildcards.seed)
    asked = system.asked(experiment, parts_of(snakemake), seed, settings)
    folders = [Path(folder) for folder in snakemake.input.get("clap", [])]
    claps = [open_embedding("clap", 0, weights=folder) for folder in folders]
    primary = tuple(snakemake.params.primary)
    means = Means(primary, snakemake.params.options, next(iter(claps), None))
    write_concepts(asked, settings, Path(snakemake.output.table), means)
