"""Embeddings and signals -> tidy rows of distances, replicates, each clip's own, the rivals'."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.metrics.registry import open_distances, open_signals
    from etude.metrics.score import write_scores

    own = open_signals(snakemake.params.signals, snakemake.params.options)

    write_scores(
        parse_section(Experiment, snakemake.params.experiment),
        dict(snakemake.wildcards.items()),
        embeddings=snakemake.params.embeddings,
        own={name: metric.unit for name, metric in own.items()},
        distances=open_distances(snakemake.params.distances, snakemake.params.options),
        generated=[Path(p) for p in snakemake.input.generated],
        baselines=[Path(p) for p in snakemake.input.baselines],
        signals=[Path(snakemake.input.signals), Path(snakemake.input.baseline_signals)],
        baseline_clips=Path(snakemake.input.notes),
        packed=Path(snakemake.input.packed[0]) if snakemake.input.packed else None,
        gated=snakemake.params.gated,
        table=Path(snakemake.output.table),
        replicates=Path(snakemake.output.replicates),
        per_clip=Path(snakemake.output.per_clip),
        rivals=Path(snakemake.output.rivals),
    )
