"""Bring a corpus that is not on this machine, or copy one that has annotations."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Corpus, CorpusBase, parse_section
    from etude.corpus.fetch import fetch, prune

    corpus = json.loads(snakemake.params.corpus)
    if snakemake.params.root:  # a user's own folder, which is not compared
        corpus["path"] = snakemake.params.root
    settings, folder = parse_section(Corpus, json.dumps(corpus)), Path(snakemake.output.folder)
    fetch(settings, folder, snakemake.threads)
    prune(parse_section(CorpusBase, snakemake.params.tables), settings.metadata, folder)
