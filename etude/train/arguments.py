"""`etude train`: its options; those of a system's settings once one is named."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from etude.arguments import place, text, whole


def add_train(
    commands: argparse._SubParsersAction,
    add_config: Callable[..., None],
    arguments: Sequence[str] = (),
) -> None:
    """Add the command; `arguments` are those of the command line, which may name a system."""
    train = commands.add_parser(
        "train",
        help="one line: write a configuration, show it, run it",
        description="Train on a folder without writing YAML. With --system NAME --help all keys of "
        "that system are listed; each is an option.",
        allow_abbrev=False,
    )
    train.add_argument("folder", nargs="?", type=place, help="of music (or --corpus)")
    train.add_argument("--corpus", type=place, help="folder of music")
    train.add_argument("--system", help="(by what is in the folder)")
    train.add_argument("--name", type=text, help="of corpus and experiment (the folder's)")
    train.add_argument("--yaml", type=place, help="the file that is written (<name>.yaml)")
    train.add_argument("--cores", type=whole(1, 1024), help="(all)")
    train.add_argument("--gpus", type=whole(0, 64), help="how many there are to share")
    train.add_argument("-n", "--dry-run", action="store_true", help="write and plan, run nothing")
    add_config(train, "laid under what is written: a smaller or larger preset, settings of yours")
    train.set_defaults(run=_train)
    if arguments[:1] == ["train"]:
        from etude.config.systems import CLASSES
        from etude.train.options import add_options, named_system

        if (system := named_system(list(arguments))) in CLASSES:
            add_options(train, system)


def _train(options: argparse.Namespace) -> int:
    from etude.train.command import train

    folder: Path | None = options.folder or options.corpus
    return train(options, folder)
