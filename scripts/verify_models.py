"""A pretrained tokenizer on real music -> a table of checks; nothing runs on one that fails."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, parse_section
    from etude.metrics.verify import verify_tokenizer

    verify_tokenizer(
        Path(snakemake.input.tokenizer),
        [Path(p) for p in snakemake.input.wav],
        [Path(p) for p in snakemake.input.cuts],
        Path(snakemake.input.pieces),
        parse_section(Cut, snakemake.params.cut),
        Path(snakemake.output.table),
        strict=snakemake.params.strict,
    )
