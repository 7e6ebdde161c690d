"""Clips -> semantic tokens."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.memorisation.clip_tokens import tokenize_clips

    tokenize_clips(
        Path(snakemake.input.clips),
        Path(snakemake.input.semantic[0]),
        Path(snakemake.output.tokens),
    )
