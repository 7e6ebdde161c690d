"""The MIDI of a shard -> windows of tokens, one JSON object a line, and what was counted."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, SymbolicTokenSet, parse_section
    from etude.tokenizers.symbolic.tokenize import tokenize_shard

    tokenize_shard(
        parse_section(SymbolicTokenSet, snakemake.params.tokens),
        parse_section(CorpusBase, snakemake.params.corpus).rules,
        Path(snakemake.input.tokenizer),
        Path(snakemake.input.ingest),
        Path(snakemake.params.root),
        Path(snakemake.output.tokens),
        Path(snakemake.output.table),
        Path(snakemake.output.statistics),
        snakemake.threads,
    )
