"""Weights that were trained elsewhere -> a stage like any other, where they fit."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Experiment, parse
    from etude.training.stage import import_stage

    names = snakemake.wildcards
    import_stage(
        parse(Experiment, snakemake.params.experiment),
        names.stage,
        int(names.seed),
        packed=Path(snakemake.input.packed[0]),
        weights=Path(snakemake.input.weights[0]),
        folder=Path(snakemake.output.weights).parent,
    )
