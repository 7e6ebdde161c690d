"""A pretrained embedding on real music, its grains and noise -> a table of checks."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.verify_embedding import verify_embedding

    weights = getattr(snakemake.input, "weights", None)  # fadtk has its own
    verify_embedding(
        snakemake.wildcards.embedding,
        snakemake.params.rate,
        Path(weights) if weights else None,
        [Path(p) for p in snakemake.input.wav],
        [Path(p) for p in snakemake.input.cuts],
        Path(snakemake.input.pieces),
        Path(snakemake.output.table),
        strict=snakemake.params.strict,
    )
