"""Clips that somebody else made -> a clip set like any other."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, Cut, Experiment, parse_section
    from etude.systems import open_system
    from etude.systems.base import Parts

    params = snakemake.params
    experiment = parse_section(Experiment, params.experiment)
    rate = parse_section(Cut, params.cut).rate
    corpus = parse_section(CorpusBase, params.corpus) if params.corpus else None
    parts = Parts(corpus=corpus, pieces=Path(snakemake.input.pieces[0]))
    open_system(experiment.system).bring(experiment, rate, Path(snakemake.output.folder), parts)
