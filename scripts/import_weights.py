"""Weights that were trained elsewhere -> a stage like any other, where they fit."""

from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.training.stage import import_stage

    names = snakemake.wildcards
    import_stage(
        parse_section(Experiment, snakemake.params.experiment),
        names.stage,
        int(names.seed),
        parts_of(snakemake),
        weights=Path(snakemake.input.weights[0]) if snakemake.input.weights else None,
        folder=Path(snakemake.output.weights).parent,
    )
