"""Clip sets -> embeddings."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.clip_sets import clip_sets
    from etude.metrics.embed import embed_sets

    weights = getattr(snakemake.input, "weights", None)  # of pretrained ones only
    embed_sets(
        clip_sets(Path(snakemake.input.clips)),
        snakemake.params.embedding,
        snakemake.params.rate,
        Path(snakemake.output.table),
        snakemake.params.options,
        weights=Path(weights) if weights else None,
    )
