"""All shards of a corpus -> duplicates, tune groups, train / valid / test."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, parse_section
    from etude.corpus.split import decide_split

    corpus = parse_section(CorpusBase, snakemake.params.corpus)
    decide_split(corpus, [Path(p) for p in snakemake.input.ingest], Path(snakemake.output.pieces))
