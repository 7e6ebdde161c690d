"""Bring a corpus that is not on this machine, or copy one that has annotations."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Corpus, parse
    from etude.corpus.fetch import fetch

    corpus = json.loads(snakemake.params.corpus)
    if snakemake.params.root:  # a user's own folder, which is not compared
        corpus["path"] = snakemake.params.root
    fetch(parse(Corpus, json.dumps(corpus)), Path(snakemake.output.folder), snakemake.threads)
