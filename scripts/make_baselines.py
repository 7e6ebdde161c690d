"""Held-out music, dumb clips, and the sets of a system: its codec, untrained networks, and more."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, Cut, Experiment, parse
    from etude.generation.baselines import CorpusFiles, make_baselines
    from etude.systems.base import Parts

    given, params = snakemake.input, snakemake.params
    parts = Parts(
        packed=Path(given.packed[0]) if given.packed else None,  # external experiments have none
        tokenizers=dict(zip(params.roles, map(Path, given.tokenizers), strict=True)),
        corpus=parse(CorpusBase, params.corpus),
    )
    make_baselines(
        parse(Experiment, params.experiment),
        parts,
        parse(Cut, params.cut),
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
