"""`etude evaluate`: its options, and which of its ways is meant."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from etude.arguments import place, whole
from etude.errors import UserError

AddConfig = Callable[[argparse.ArgumentParser], None]


def add_evaluate(commands: argparse._SubParsersAction, add_config: AddConfig) -> None:
    """Add the command."""
    evaluate = commands.add_parser(
        "evaluate", help="distances and copies of two folders; one checkpoint of a run"
    )
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument("--eval", type=place, help="folder of clips: audio, or MIDI")
    what.add_argument("-r", "--results", type=place, help="a results.json of Neuromusic's")
    what.add_argument("--experiment", help="name in the configuration: one checkpoint, see --step")
    evaluate.add_argument(
        "--baseline",
        type=place,
        help="folder of real music (audio, or MIDI), or fadtk's statistics (.npz, or a folder)",
    )
    evaluate.add_argument("--model", default="logmel", help="embedding (logmel)")
    evaluate.add_argument(
        "--weights", type=place, help="folder of a CLAP in the hub's form: --model, and texts"
    )
    evaluate.add_argument("--use-inf", action="store_true", help="FAD-infinity as well")
    cores = min(8, os.cpu_count() or 1)
    evaluate.add_argument(
        "--workers",
        type=whole(1, 1024),
        default=cores,
        help="files embedded at once (one a core, up to 8)",
    )
    evaluate.add_argument(
        "--batch-size",
        type=whole(1, 1024),
        default=8,
        help="stretches of a file embedded at once (8)",
    )
    evaluate.add_argument(
        "-o", "--output", type=place, help="folder for tables, figures and a summary"
    )
    evaluate.add_argument(
        "--cache",
        type=place,
        help="folder that keeps embeddings ($XDG_CACHE_HOME/etude/embeddings)",
    )
    evaluate.add_argument("--no-cache", action="store_true", help="make all embeddings again")
    evaluate.add_argument(
        "--step", type=whole(1, 10**9), help="of --experiment: a step that `keep_steps` kept"
    )
    add_config(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    if options.experiment is not None:
        from etude.metrics.checkpoint import evaluate_step

        return evaluate_step(options.experiment, options.step, options.configfile)
    for option, value in (("--step", options.step), ("--configfile", options.configfile)):
        if value:
            raise UserError(
                f"{option} says nothing of a folder",
                code="option-without-meaning",
                where=option,
                why="it belongs to a checkpoint of a run",
                do=f"leave out {option}, or name an --experiment",
            )
    from etude.metrics.folder_command import evaluate

    print(evaluate(options), end="")
    return 0
