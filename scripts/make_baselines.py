"""Held-out music, its reconstruction, shuffled tokens, untrained networks, noise, and more."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, Cut, Experiment, parse
    from etude.generation.baselines import make_baselines

    def one(paths):
        """The path of an input that external experiments do not have."""
        return Path(paths[0]) if paths else None

    make_baselines(
        parse(Experiment, snakemake.params.experiment),
        parse(Cut, snakemake.params.cut),
        pieces=Path(snakemake.input.pieces[0]),
        wav=[Path(p) for p in snakemake.input.wav],
        cuts=[Path(p) for p in snakemake.input.cuts],
        packed=one(snakemake.input.packed),
        semantic=one(snakemake.input.semantic),
        acoustic=one(snakemake.input.acoustic),
        tokenizer=one(snakemake.input.tokenizer),
        corpus=parse(CorpusBase, snakemake.params.corpus) if snakemake.params.corpus else None,
        seed=snakemake.params.seed,
        folder=Path(snakemake.output.folder),
    )
