"""A trained model, given the beginnings of training items -> how often it goes on as they do."""

from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import Memorisation, parse_section
    from etude.metrics.memorisation.extraction import write_extraction

    write_extraction(
        snakemake.params.system,
        parts_of(snakemake),
        parse_section(Memorisation, snakemake.params.settings),
        snakemake.params.seed,
        Path(snakemake.output.table),
    )
