"""A trained experiment -> its clips, of whichever system."""

import sys
from pathlib import Path

from adapter import TEMPORARY_FAILURE, StopRequest, job

with job(snakemake):
    from etude.clips.progress import Stopped
    from etude.config import CorpusBase, Experiment, parse
    from etude.generation.clips import make_clips
    from etude.systems.base import Parts

    given, params = snakemake.input, snakemake.params
    models = [Path(path).parent for path in given.models]  # …/{stage}/seed-{seed}
    latents = [Path(path) for path in given.latents]
    parts = Parts(
        packed=Path(given.packed[0]),
        tokenizers=dict(zip(params.roles, map(Path, given.tokenizers), strict=True)),
        models={folder.parent.name: folder for folder in models},
        latents={folder.parent.name: folder for folder in latents},
        corpus=parse(CorpusBase, params.corpus) if params.corpus else None,
    )
    try:
        make_clips(
            parse(Experiment, params.experiment),
            parts,
            int(snakemake.wildcards.seed),
            int(snakemake.wildcards.draw),
            Path(snakemake.output.folder),
            primes=[Path(path) for path in given.primes],  # params know their names only
            should_stop=StopRequest(snakemake.resources.runtime),
        )
    except Stopped:
        sys.exit(TEMPORARY_FAILURE)
