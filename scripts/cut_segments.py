"""The WAVs of a shard -> segments."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.audio.cuts import cut_shard
    from etude.config import Cut, parse_section

    cut = parse_section(Cut, snakemake.params.cut)
    wav, folder = Path(snakemake.input.wav), Path(snakemake.output.folder)
    cut_shard(cut, wav, folder, snakemake.threads)
