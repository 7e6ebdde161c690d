"""Settings (and the training split, for what learns) -> a symbolic tokenizer."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import AnyTokenizer, CorpusBase, Filter, parse_section
    from etude.tokenizers.symbolic.factory import make_tokenizer

    params, given = snakemake.params, snakemake.input
    make_tokenizer(
        parse_section(AnyTokenizer, params.tokenizer),
        parse_section(CorpusBase, params.corpus).rules if params.corpus else Filter(),
        Path(params.root) if params.root else None,
        [Path(p) for p in given.ingest],
        Path(given.pieces[0]) if given.pieces else None,
        Path(snakemake.output.folder),
    )
