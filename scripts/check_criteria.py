"""Histories, hashes and distances -> whether the experiment's stated criteria are met."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Criteria, parse_section
    from etude.results.criteria import check_criteria

    check_criteria(
        snakemake.wildcards.experiment,
        parse_section(Criteria, snakemake.params.criteria),
        histories=[Path(p) for p in snakemake.input.histories],
        hashes=[Path(p) for p in snakemake.input.hashes],
        tables=[Path(p) for p in snakemake.input.tables],
        table=Path(snakemake.output.table),
        text=Path(snakemake.output.text),
    )
