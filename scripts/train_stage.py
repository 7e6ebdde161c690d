"""Packed tokens, and what it needs -> one trained stage. Killed, it continues from its state."""

import sys
from pathlib import Path

from adapter import TEMPORARY_FAILURE, StopRequest, job, parts_of

with job(snakemake):
    from etude.config import Experiment, parse_section
    from etude.metrics.concepts import distance
    from etude.training.launch import launch
    from etude.training.loop import Interrupted
    from etude.training.stage import train_stage

    names = snakemake.wildcards
    experiment = parse_section(Experiment, snakemake.params.experiment)
    stop = StopRequest(snakemake.resources.runtime)
    wanted = {
        "stage": names.stage,
        "seed": int(names.seed),
        "parts": parts_of(snakemake),
        "folder": Path(snakemake.output.weights).parent,
        "state_root": Path("results/state"),
        "tensorboard": Path("results/tensorboard", names.experiment, names.stage, names.seed),
        "weights": Path(snakemake.input.weights[0]) if snakemake.input.weights else None,
        "distance": distance,
    }
    devices = experiment.stage(names.stage).training.devices
    if devices > 1:
        wanted["experiment"] = snakemake.params.experiment
        sys.exit(TEMPORARY_FAILURE if launch(wanted, devices, snakemake.threads, stop) else 0)
    try:
        train_stage(experiment, **wanted, should_stop=stop)
    except Interrupted:
        sys.exit(TEMPORARY_FAILURE)
