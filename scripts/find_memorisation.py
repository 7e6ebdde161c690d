"""Clips, training music, planted copies -> memorisation.csv and each clip's nearest piece."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Cut, Experiment, Memorisation, parse_section
    from etude.metrics.memorisation.evaluate import Sources, find_memorisation

    def one(paths):
        """The path of an input that not every experiment has."""
        return Path(paths[0]) if paths else None

    given, names = snakemake.input, snakemake.params.embeddings
    labels = [name.rpartition(":")[2] for name in names]
    root = snakemake.params.root
    sources = Sources(
        clips=Path(given.clips),
        pieces=Path(given.pieces[0]),
        wav=[Path(p) for p in given.wav],
        catalogue=Path(given.catalogue[0]),
        corpus_embeddings=dict(zip(names, map(Path, given.corpus_embeddings), strict=True)),
        clip_embeddings=dict(zip(labels, map(Path, given.clip_embeddings), strict=True)),
        recall=Path(given.recall[0]),
        token_shards=[Path(p) for p in given.tokens],
        clip_tokens=one(given.clip_tokens),
        extraction=one(given.extraction),
        packed=one(given.packed),
        midi_root=Path(root) if root else None,
        results=Path("results"),
    )
    find_memorisation(
        parse_section(Experiment, snakemake.params.experiment),
        parse_section(Cut, snakemake.params.cut),
        parse_section(Memorisation, snakemake.params.settings),
        snakemake.params.seed,
        dict(snakemake.wildcards.items()),
        sources,
        Path(snakemake.output.table),
        Path(snakemake.output.clips),
        Path(snakemake.output.hashes),
    )
