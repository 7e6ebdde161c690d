"""Three trained stages -> clips."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import parse
    from etude.config.systems.audiolm import Generate
    from etude.systems.audiolm.player import make_clips

    models = [Path(p).parent for p in snakemake.input.models]
    make_clips(
        {folder.parent.name: folder for folder in models},
        Path(snakemake.input.semantic[0]),
        Path(snakemake.input.acoustic[0]),
        parse(Generate, snakemake.params.generate),
        int(snakemake.wildcards.seed),
        int(snakemake.wildcards.draw),
        Path(snakemake.output.folder),
    )
