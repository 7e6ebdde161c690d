"""Bring a corpus that is not on this machine: music21 scores or an archive."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Corpus, parse
    from etude.corpus.fetch import fetch

    fetch(parse(Corpus, snakemake.params.corpus), Path(snakemake.output.folder), snakemake.threads)
