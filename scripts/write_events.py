"""The MIDI of a shard -> MidiLM's files of each piece and step."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, SymbolicTokenSet, parse_section
    from etude.tokenizers.symbolic.tokenize import write_events

    write_events(
        parse_section(SymbolicTokenSet, snakemake.params.tokens),
        parse_section(CorpusBase, snakemake.params.corpus).rules,
        Path(snakemake.input.tokenizer),
        Path(snakemake.input.ingest),
        Path(snakemake.params.root),
        Path(snakemake.output.folder),
        snakemake.threads,
    )
