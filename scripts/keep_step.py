"""The weights of a step that config wants to keep, out of the training's state."""

from pathlib import Path

from adapter import job, parts_of

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.training.stage import copy_kept_step

    names = snakemake.wildcards
    copy_kept_step(
        parse_section(Experiment, snakemake.params.experiment),
        names.stage,
        int(names.seed),
        int(names.step),
        parts=parts_of(snakemake),
        state_root=Path("results/state"),
        output=Path(snakemake.output.weights),
        weights=Path(snakemake.input.weights[0]) if snakemake.input.weights else None,
    )
