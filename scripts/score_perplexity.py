"""A trained language model and the packed test split -> perplexity, beside an n-gram's."""

import json
from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.metrics.perplexity import write_perplexity

    settings = json.loads(snakemake.params.settings)
    write_perplexity(
        parse_section(Experiment, snakemake.params.experiment),
        snakemake.wildcards.experiment,
        snakemake.wildcards.seed,
        parts=parts_of(snakemake),
        most=settings["perplexity_windows"],
        replicates=settings["replicates"],
        table=Path(snakemake.output.table),
        drawn=Path(snakemake.output.replicates),
    )
