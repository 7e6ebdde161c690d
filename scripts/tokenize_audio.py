"""The segments of a shard -> semantic and acoustic tokens, one JSON object a line."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, parse_section
    from etude.tokenizers.tokenize import tokenize_shard

    tokenize_shard(
        parse_section(Cut, snakemake.params.cut),
        Path(snakemake.input.wav),
        Path(snakemake.input.cuts),
        Path(snakemake.input.semantic),
        Path(snakemake.input.acoustic),
        Path(snakemake.output.tokens),
        Path(snakemake.output.left_out),
    )
