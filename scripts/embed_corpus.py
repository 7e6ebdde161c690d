"""All kept segments of a corpus -> embeddings."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.memorisation.reference import embed_corpus

    embed_corpus(
        Path(snakemake.input.pieces),
        [Path(p) for p in snakemake.input.wav],
        [Path(p) for p in snakemake.input.cuts],
        snakemake.params.rate,
        snakemake.params.embedding,
        Path(snakemake.output.table),
        snakemake.params.options,
    )
