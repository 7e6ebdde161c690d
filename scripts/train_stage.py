"""Packed tokens -> one trained stage. Killed, it goes on where its state was saved."""

import sys
from pathlib import Path

from adapter import TEMPORARY_FAILURE, StopRequest, job

with job(snakemake):
    from etude.config import Experiment, parse
    from etude.training.loop import Interrupted
    from etude.training.stage import train_stage

    names = snakemake.wildcards
    experiment = parse(Experiment, snakemake.params.experiment)
    stop = StopRequest(snakemake.resources.runtime)
    audition = None
    if snakemake.input.acoustic:  # config asks for it
        from etude.systems.audiolm.audition import open_audition

        audition = open_audition(Path(snakemake.input.packed[0]), Path(snakemake.input.acoustic[0]))
    devices = getattr(experiment.stages, names.stage).training.devices
    if devices > 1:
        from etude.training.launch import launch

        wanted = {
            "experiment": snakemake.params.experiment,
            "stage": names.stage,
            "seed": int(names.seed),
            "packed": snakemake.input.packed[0],
            "folder": str(Path(snakemake.output.weights).parent),
            "state_root": "results/state",
            "tensorboard": f"results/tensorboard/{names.experiment}/{names.stage}/{names.seed}",
            "weights": next(iter(snakemake.input.weights), None),
            "tokenizer": next(iter(snakemake.input.tokenizer), None),
        }
        sys.exit(TEMPORARY_FAILURE if launch(wanted, devices, snakemake.threads, stop) else 0)
    try:
        train_stage(
            experiment,
            names.stage,
            int(names.seed),
            packed=Path(snakemake.input.packed[0]),
            folder=Path(snakemake.output.weights).parent,
            state_root=Path("results/state"),
            tensorboard=Path("results/tensorboard", names.experiment, names.stage, names.seed),
            should_stop=stop,
            audition=audition,
            weights=Path(snakemake.input.weights[0]) if snakemake.input.weights else None,
            tokenizer=Path(snakemake.input.tokenizer[0]) if snakemake.input.tokenizer else None,
        )
    except Interrupted:
        sys.exit(TEMPORARY_FAILURE)
