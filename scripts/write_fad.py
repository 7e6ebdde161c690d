"""The tables of all experiments -> results/fad.txt."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Evaluation, parse
    from etude.metrics.table import write_table

    write_table(
        [Path(p) for p in snakemake.input.tables],
        parse(Evaluation, snakemake.params.evaluation),
        set(snakemake.params.gated),
        Path(snakemake.output.text),
    )
