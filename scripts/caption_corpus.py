"""The table of pieces, names and notes -> a caption per piece."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, parse_section
    from etude.corpus.captions import caption_corpus

    caption_corpus(
        parse_section(CorpusBase, snakemake.params.corpus),
        Path(snakemake.input.pieces),
        Path(snakemake.params.root),
        Path(snakemake.output.table),
        snakemake.threads,
    )
