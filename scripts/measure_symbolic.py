"""Clip sets with .mid -> what is measured of each clip's notes."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.corpus.piece_paths import piece_paths
    from etude.metrics.notes.measure import measure_folder
    from etude.storage import read_csv

    rows = [row for table in snakemake.input.ingest for row in read_csv(table)]
    settings = json.loads(snakemake.params.settings)
    measure_folder(
        Path(snakemake.input.clips),
        Path(snakemake.output.clips),
        compat=settings["compat"],
        most=settings["clips"],
        harmony_clips=settings["harmony_clips"],
        form_bars=settings["form_bars"],
        threads=snakemake.threads,
        pieces=piece_paths(Path(snakemake.params.root), rows),
        prompted=snakemake.params.prompted,
    )
