"""Clips, real music and a trained encoder -> distances in its latent space."""

import json
from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.corpus.piece_paths import piece_paths
    from etude.metrics.latents import write_latents
    from etude.storage import read_csv

    rows = [row for table in snakemake.input.ingest for row in read_csv(table)]
    write_latents(
        parse_section(Experiment, snakemake.params.experiment),
        dict(snakemake.wildcards.items()),
        parts=parts_of(snakemake),
        generated=Path(snakemake.input.clips),
        baselines=Path(snakemake.input.baselines),
        pieces=piece_paths(Path(snakemake.params.root), rows),
        settings=json.loads(snakemake.params.settings),
        table=Path(snakemake.output.table),
        replicates=Path(snakemake.output.replicates),
    )
