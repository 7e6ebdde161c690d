"""A trained stage and the packed tokens -> what it makes of them, for the stages that need it."""

from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.training.stage import encode_stage

    encode_stage(
        parse_section(Experiment, snakemake.params.experiment),
        snakemake.wildcards.stage,
        parts_of(snakemake),
        Path(snakemake.output.latents),
    )
