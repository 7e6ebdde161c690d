"""Tokens and split -> what training reads; the gate against leakage stands here."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, parse_section
    from etude.tokenizers.pack import pack_tokens

    pack_tokens(
        [Path(p) for p in snakemake.input.tokens],
        Path(snakemake.input.pieces),
        Path(snakemake.input.semantic),
        Path(snakemake.input.acoustic),
        parse_section(Cut, snakemake.params.cut),
        Path(snakemake.output.folder),
        [Path(p) for p in snakemake.input.left_out],
    )
