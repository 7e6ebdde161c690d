"""Clip sets -> harmony, flatness and level of each clip."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.metrics.clip_sets import clip_sets
    from etude.metrics.registry import open_signals
    from etude.metrics.score import write_signals

    own = open_signals(snakemake.params.signals, snakemake.params.options)
    sets = clip_sets(Path(snakemake.input.clips))
    write_signals(sets, snakemake.params.rate, Path(snakemake.output.signals), own)
