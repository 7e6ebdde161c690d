"""A trained language model and the packed test split -> perplexity, beside an n-gram's."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Experiment, parse
    from etude.metrics.perplexity import write_perplexity

    settings = json.loads(snakemake.params.settings)
    write_perplexity(
        parse(Experiment, snakemake.params.experiment),
        snakemake.wildcards.experiment,
        snakemake.wildcards.seed,
        model=Path(snakemake.input.weights).parent,
        packed=Path(snakemake.input.packed[0]),
        most=settings["perplexity_windows"],
        replicates=settings["replicates"],
        table=Path(snakemake.output.table),
        drawn=Path(snakemake.output.replicates),
    )
