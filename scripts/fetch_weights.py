"""A hub, a folder, a file or an address -> weights in one form."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Pretrained, parse_section
    from etude.pretrained.fetch import fetch_weights

    settings = parse_section(Pretrained, snakemake.params.pretrained)
    if settings.path is not None:  # params have its name only
        settings = settings.model_copy(update={"path": Path(snakemake.input.given[0])})
    fetch_weights(snakemake.wildcards.pretrained, settings, Path(snakemake.output.folder))
