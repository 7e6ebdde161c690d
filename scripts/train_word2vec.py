"""The training split's MIDI -> vectors for harmonic words, and its changes of chord."""

import json
from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.notes.chord_changes import count_changes
    from etude.metrics.notes.training_pieces import training_files
    from etude.metrics.notes.word2vec import train_word2vec

    files = training_files(
        Path(snakemake.params.root),
        [Path(p) for p in snakemake.input.ingest],
        Path(snakemake.input.pieces),
    )
    settings = json.loads(snakemake.params.settings)
    how = {"settings": settings, "threads": snakemake.threads}
    count_changes(files, Path(snakemake.output.changes), **how)
    train_word2vec(files, Path(snakemake.output.vectors), **how)
