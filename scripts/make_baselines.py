"""Held-out music, dumb clips, and the sets of a system: its codec, untrained networks, and more."""

from dataclasses import replace
from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import CorpusBase, Cut, Experiment, parse_section
    from etude.generation.baselines import CorpusFiles, make_baselines

    given, params = snakemake.input, snakemake.params
    parts = replace(parts_of(snakemake), corpus=parse_section(CorpusBase, params.corpus))
    make_baselines(
        parse_section(Experiment, params.experiment),
        parts,
        parse_section(Cut, params.cut),
        files=CorpusFiles(
            pieces=Path(given.pieces[0]),
            ingest=[Path(p) for p in given.ingest],
            root=Path(params.root),
        ),
        wav=[Path(p) for p in given.wav],
        cuts=[Path(p) for p in given.cuts],
        seed=params.seed,
        folder=Path(snakemake.output.folder),
    )
