"""What was measured of the clips -> tidy rows, their replicates, figures, the original's files."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.metrics.notes.score import write_symbolic

    packed = snakemake.input.packed  # of clips that somebody else made there is none
    write_symbolic(
        parse_section(Experiment, snakemake.params.experiment),
        dict(snakemake.wildcards.items()),
        settings=json.loads(snakemake.params.settings),
        generated=Path(snakemake.input.generated),
        baselines=Path(snakemake.input.baselines),
        vectors=Path(snakemake.input.vectors[0]),
        changes=Path(snakemake.input.changes[0]),
        packed=Path(packed[0]) if packed else None,
        table=Path(snakemake.output.table),
        replicates=Path(snakemake.output.replicates),
        figures=Path(snakemake.output.figures),
    )
