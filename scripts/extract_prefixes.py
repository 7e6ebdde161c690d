"""A trained model, given the beginnings of training items -> how often it goes on as they do."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.memorisation.audiolm_prefixes import extract_semantic

    extract_semantic(
        Path(snakemake.input.weights).parent,
        Path(snakemake.input.packed[0]),
        snakemake.params.prefixes,
        snakemake.params.seed,
        Path(snakemake.output.table),
    )
