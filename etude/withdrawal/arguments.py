"""The command `etude withdraw` and its options; light, since every command reads them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from etude.arguments import text


def add_command(commands: Any, add_config: Callable[[argparse.ArgumentParser], None]) -> None:
    """`etude withdraw`."""
    parser = commands.add_parser("withdraw", help="a file's owner takes the consent back")
    parser.add_argument(
        "files", nargs="*", type=text, help="as the corpus has them, or their names"
    )
    parser.add_argument("--corpus", help="which corpus (the one that has owners)")
    parser.add_argument("--reason", type=text, help="goes into withdrawn.csv")
    parser.add_argument(
        "--now", action="store_true", help="delete what knew them, without waiting for the next run"
    )
    add_config(parser)
    parser.set_defaults(run=_withdraw)


def _withdraw(options: argparse.Namespace) -> None:
    from etude.withdrawal.command import withdraw

    print("\n".join(withdraw(options)))
