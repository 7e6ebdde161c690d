"""Symbolic tokens and split -> what training reads; the gate against leakage stands here too."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import SymbolicTokenSet, parse_section
    from etude.tokenizers.symbolic.pack import pack_symbolic

    pack_symbolic(
        parse_section(SymbolicTokenSet, snakemake.params.tokens),
        [Path(p) for p in snakemake.input.tokens],
        Path(snakemake.input.pieces),
        Path(snakemake.input.tokenizer),
        Path(snakemake.output.folder),
    )
