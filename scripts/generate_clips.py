"""A trained experiment -> its clips, of whichever system."""

import sys
from dataclasses import replace
from pathlib import Path

from adapter import TEMPORARY_FAILURE, StopRequest, job, parts_of

with job(snakemake):
    from etude.clips.progress import Stopped
    from etude.config import CorpusBase, Experiment, parse_section
    from etude.generation.clips import make_clips

    given, params = snakemake.input, snakemake.params
    corpus = parse_section(CorpusBase, params.corpus) if params.corpus else None
    parts = replace(parts_of(snakemake), corpus=corpus)
    try:
        make_clips(
            parse_section(Experiment, params.experiment),
            parts,
            int(snakemake.wildcards.seed),
            int(snakemake.wildcards.draw),
            Path(snakemake.output.folder),
            primes=[Path(path) for path in given.primes],  # params know their names only
            owners=[Path(path) for path in given.owners],
            should_stop=StopRequest(snakemake.resources.runtime),
        )
    except Stopped:
        sys.exit(TEMPORARY_FAILURE)
