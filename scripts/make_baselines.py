"""Held-out music, noise, and the sets of a system: its codec, untrained networks, and more."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, Cut, Experiment, parse
    from etude.generation.baselines import make_baselines
    from etude.systems.base import Parts

    given, params = snakemake.input, snakemake.params
    parts = Parts(
        packed=Path(given.packed[0]) if given.packed else None,  # external experiments have none
        tokenizers=dict(zip(params.roles, map(Path, given.tokenizers), strict=True)),
        corpus=parse(CorpusBase, params.corpus) if params.corpus else None,
    )
    make_baselines(
        parse(Experiment, params.experiment),
        parts,
        parse(Cut, params.cut),
        pieces=Path(given.pieces[0]),
        wav=[Path(p) for p in given.wav],
        cuts=[Path(p) for p in given.cuts],
        seed=params.seed,
        folder=Path(snakemake.output.folder),
    )
