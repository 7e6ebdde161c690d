"""One shard of a corpus -> a WAV per kept piece."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, parse_section
    from etude.midi.render import render_shard

    corpus = parse_section(CorpusBase, snakemake.params.corpus)
    root, ingest = Path(snakemake.params.root), Path(snakemake.input.ingest)
    render_shard(corpus, ingest, root, Path(snakemake.output.folder), snakemake.threads)
