"""A tokenizer that was fitted elsewhere -> a tokenizer like any other, where its settings agree."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import AnyTokenizer, parse_section
    from etude.tokenizers.fit import import_tokenizer

    import_tokenizer(
        parse_section(AnyTokenizer, snakemake.params.tokenizer),
        [Path(p) for p in snakemake.input.files],
        Path(snakemake.output.folder),
    )
