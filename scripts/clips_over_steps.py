"""Earlier steps of a training -> clips of each, of whichever system."""

import sys
from dataclasses import replace
from pathlib import Path

from adapter import TEMPORARY_FAILURE, StopRequest, job, parts_of

with job(snakemake):
    from etude.clips.progress import Stopped
    from etude.config import CorpusBase, Experiment, parse_section
    from etude.generation.over_steps import clips_over_steps

    given, params = snakemake.input, snakemake.params
    corpus = parse_section(CorpusBase, params.corpus) if params.corpus else None
    try:
        clips_over_steps(
            parse_section(Experiment, params.experiment),
            replace(parts_of(snakemake), corpus=corpus),
            params.checkpoints,
            params.draw,
            params.seed,
            Path(snakemake.output.folder),
            primes=[Path(path) for path in given.primes],
            owners=[Path(path) for path in given.owners],
            should_stop=StopRequest(snakemake.resources.runtime),
        )
    except Stopped:
        sys.exit(TEMPORARY_FAILURE)
