"""Clips of a training's checkpoints -> their distances and copies, one table."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, Experiment, Memorisation, parse_section
    from etude.metrics.over_steps import Sources, measure_over_steps

    given, params = snakemake.input, snakemake.params
    experiment = parse_section(Experiment, params.experiment)
    measure_over_steps(
        experiment,
        snakemake.wildcards.experiment,
        params.checkpoints,
        parse_section(Cut, params.cut),
        parse_section(Memorisation, params.settings),
        seeds=tuple(params.seeds),
        seed=params.seed,
        embedding=params.embedding,
        options=params.options,
        sources=Sources(
            clips=Path(given.clips),
            end=Path(given.end[0]),
            end_embedded=Path(given.end_embedded[0]),
            baselines=Path(given.baselines),
            pieces=Path(given.pieces[0]),
            wav=[Path(path) for path in given.wav],
            catalogue=Path(given.catalogue[0]),
            packed=Path(given.packed[0]) if given.packed else None,
            notes="notes" in experiment.makes,
            midi_root=Path(params.root) if params.root else None,
        ),
        table=Path(snakemake.output.table),
    )
