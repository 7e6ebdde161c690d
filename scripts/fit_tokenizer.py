"""Training segments -> a fitted tokenizer."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, Tokenizer, parse_section
    from etude.tokenizers.fit import fit_tokenizer

    fit_tokenizer(
        parse_section(Tokenizer, snakemake.params.tokenizer),
        parse_section(Cut, snakemake.params.cut),
        [Path(p) for p in snakemake.input.wav],
        [Path(p) for p in snakemake.input.cuts],
        Path(snakemake.input.pieces),
        Path(snakemake.output.folder),
        weights=Path(snakemake.input.weights[0]) if snakemake.input.weights else None,
        centres=Path(snakemake.input.centres[0]) if snakemake.input.centres else None,
    )
