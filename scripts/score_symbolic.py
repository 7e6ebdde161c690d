"""What was measured of the clips -> tidy rows, their replicates, figures, the seed's files."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Experiment, parse
    from etude.metrics.notes.score import write_symbolic
    from etude.storage import read_json

    write_symbolic(
        parse(Experiment, snakemake.params.experiment),
        dict(snakemake.wildcards.items()),
        settings=json.loads(snakemake.params.settings),
        generated=Path(snakemake.input.generated),
        baselines=Path(snakemake.input.baselines),
        vectors=Path(snakemake.input.vectors[0]),
        data_hash=read_json(Path(snakemake.input.packed[0], "info.json"))["data_hash"],
        table=Path(snakemake.output.table),
        replicates=Path(snakemake.output.replicates),
        figures=Path(snakemake.output.figures),
    )
