"""One shard of a corpus -> one row for every input file."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, parse_section
    from etude.corpus.ingest import ingest_shard

    corpus = parse_section(CorpusBase, snakemake.params.corpus)
    root = Path(snakemake.params.root)
    ingest_shard(
        corpus,
        root,
        int(snakemake.wildcards.shard),
        Path(snakemake.output.table),
        snakemake.threads,
        parse_section(CorpusBase, snakemake.params.tables),
    )
