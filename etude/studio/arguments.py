"""The commands of the studio and their options; light, since every command reads them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etude.arguments import place, whole

MODELS = Path(__file__).resolve().parents[2] / "models"


def add_commands(commands: Any, add_config: Callable[[argparse.ArgumentParser], None]) -> None:
    """`etude studio` and `etude listen`."""
    studio = commands.add_parser("studio", help="play, listen blind and train in a browser")
    add_arguments(studio)
    add_config(studio)
    studio.set_defaults(run=_studio)

    listen = commands.add_parser("listen", help="blind pairs as a page that needs no server")
    listen.add_argument("--page", type=place, required=True, help="the folder, new or empty")
    results = "the run whose clips are compared (results)"
    listen.add_argument("--results", type=place, default=Path("results"), help=results)
    listen.add_argument("--pairs", type=whole(1, 1000), help="how many (as configured, 20)")
    listen.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, help="of the choice (0)")
    listen.add_argument("--form", choices=("webmushra",), help="a test for another program")
    add_config(listen)
    listen.set_defaults(run=_listen)


def _studio(options: argparse.Namespace) -> None:
    from etude.studio.command import serve

    serve(options)


def _listen(options: argparse.Namespace) -> None:
    from etude.studio.jury import listen

    listen(options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--from",
        dest="exports",
        type=place,
        nargs="+",
        default=[MODELS],
        help="folders of `etude export`, or folders of such (models/)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=whole(1, 65535), default=8400, help="port (8400)")
    parser.add_argument(
        "--name", nargs="+", default=[], help="names that browsers reach it by, without port"
    )
    parser.add_argument("--tls-cert", type=place, help="certificate file (PEM)")
    parser.add_argument("--tls-key", type=place, help="its key (PEM)")
    parser.add_argument(
        "--make-certificate",
        nargs="+",
        metavar="NAME",
        default=[],
        help="make a certificate for these names and addresses, and use it",
    )
    parser.add_argument(
        "--behind-proxy",
        nargs="?",
        const="127.0.0.1",
        metavar="ADDRESS",
        help="a proxy with TLS is in front; its address (127.0.0.1)",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="http for other machines: no microphone there"
    )
    parser.add_argument("--devices", default="", help="cpu, or cuda:0,cuda:1 (what is there)")
    parser.add_argument(
        "--folder", type=place, default=Path("studio-data"), help="what it keeps (studio-data)"
    )
    parser.add_argument("--results", type=place, help="a run: for listening tests and its table")
    parser.add_argument("--access-code", type=place, help="file with the code for visitors")
    parser.add_argument("--operator-code", type=place, help="file with the operator's code")
    parser.add_argument(
        "--train", type=place, nargs="+", default=[], help="configurations that may be trained here"
    )
    parser.add_argument("--expo", action="store_true", help="start again after a while of quiet")
