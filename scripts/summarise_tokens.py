"""Tables of all shards -> one table of pieces, totals, histograms and their figures."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.tokenizers.symbolic.summary import summarise

    names = snakemake.wildcards
    summarise(
        [Path(p) for p in snakemake.input.tables],
        [Path(p) for p in snakemake.input.statistics],
        f"{names.corpus}, {names.tokens}",
        Path(snakemake.output.folder),
    )
