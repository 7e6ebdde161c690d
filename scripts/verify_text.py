"""Pretrained weights that make sound from text -> a table of checks; nothing runs on what fails."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.verify_text import verify_text
    from etude.systems import open_system

    weights = Path(snakemake.input.weights)
    reader = open_system(snakemake.params.system).reader(weights, Path(snakemake.input.tokenizer))
    verify_text(
        reader,
        weights,
        snakemake.params.kind,
        Path(snakemake.output.table),
        strict=snakemake.params.strict,
    )
