"""The training split's MIDI -> vectors for harmonic words."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.notes.training_pieces import training_files
    from etude.metrics.notes.word2vec import train_word2vec

    files = training_files(
        Path(snakemake.params.root),
        [Path(p) for p in snakemake.input.ingest],
        Path(snakemake.input.pieces),
    )
    settings = json.loads(snakemake.params.settings)
    output = Path(snakemake.output.vectors)
    train_word2vec(files, output, settings=settings, threads=snakemake.threads)
