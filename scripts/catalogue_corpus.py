"""A corpus -> fingerprints of its training split, hashes of all segments."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, parse_section
    from etude.metrics.memorisation.reference import catalogue_corpus

    catalogue_corpus(
        Path(snakemake.input.pieces),
        [Path(p) for p in snakemake.input.wav],
        [Path(p) for p in snakemake.input.cuts],
        parse_section(Cut, snakemake.params.cut),
        Path(snakemake.output.folder),
    )
