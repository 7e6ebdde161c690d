"""Clip sets -> embeddings."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.clip_sets import clip_sets
    from etude.metrics.embed import embed_sets

    embed_sets(
        clip_sets(Path(snakemake.input.clips)),
        snakemake.params.embedding,
        snakemake.params.rate,
        Path(snakemake.output.table),
        snakemake.params.options,
    )
