"""Planted copies -> recall of each search of the memorisation test."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Corpus, Cut, Memorisation, parse_section
    from etude.metrics.memorisation.evaluate import study_memorisation

    paths = map(Path, snakemake.input.embeddings)
    root = snakemake.params.root

    study_memorisation(
        parse_section(Corpus, snakemake.params.corpus),
        parse_section(Cut, snakemake.params.cut),
        parse_section(Memorisation, snakemake.params.settings),
        snakemake.params.seed,
        pieces=Path(snakemake.input.pieces),
        wav=[Path(p) for p in snakemake.input.wav],
        catalogue=Path(snakemake.input.catalogue),
        embeddings=dict(zip(snakemake.params.embeddings, paths, strict=True)),
        options=snakemake.params.options,
        midi_root=Path(root) if root else None,
        output=Path(snakemake.output.table),
    )
