"""The table of pieces, names and notes -> a caption per piece."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, parse
    from etude.corpus.captions import caption_corpus

    caption_corpus(
        parse(CorpusBase, snakemake.params.corpus),
        Path(snakemake.input.pieces),
        Path(snakemake.params.root),
        Path(snakemake.output.table),
        snakemake.threads,
    )
