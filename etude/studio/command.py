"""`python -m etude studio`: checks what it is asked, then serves until it is stopped."""

from __future__ import annotations

import argparse
import fcntl
import logging
import socket
import stat
from pathlib import Path
from typing import IO, Any

from etude import config
from etude.corpus.withdrawn import refuse_if_pending, withdrawn_hashes
from etude.errors import UserError
from etude.generation.registry import refuse_known, refuse_withdrawn
from etude.storage import check_place
from etude.studio.instruments import find_instruments
from etude.studio.training import trained_exports

log = logging.getLogger(__name__)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NVIDIA = Path("/dev/nvidiactl")  # of the driver, where there is one
MOST_REQUESTS = 500  # at the same time, of all visitors


def serve(options: argparse.Namespace) -> None:
    """Serve until it is stopped.

    Raises:
        UserError: something of what is asked is not there or not safe.
    """
    import uvicorn

    cert, key = _transport(options)
    check_place(options.folder / "studio.sqlite")
    settings = config.read(config.DEFAULT, *options.configfile)
    refuse_if_pending(settings.corpora)
    instruments = find_instruments([*options.exports, *trained_exports(options.folder)])
    folders = [instrument.exported.folder for instrument in instruments.values()]
    refuse_known(folders, withdrawn_hashes(settings.corpora))
    for folder in folders:
        refuse_withdrawn(folder)
    codes = [read_code(path) for path in (options.access_code, options.operator_code)]
    devices = devices_of(options.devices)
    with only_one(options.folder):
        from etude.studio.app import application
        from etude.studio.startup import open_state

        state = open_state(options, settings, instruments, codes, devices)
        app = application(state, hosts(options))
        log.info("%s  %s", address(options, bool(cert)), ", ".join(_names(instruments)))
        uvicorn.run(
            app,
            host=options.host,
            port=options.port,
            ssl_certfile=cert,
            ssl_keyfile=key,
            access_log=False,  # addresses of visitors are personal data
            log_level="warning",
            server_header=False,
            proxy_headers=bool(options.behind_proxy),
            forwarded_allow_ips=options.behind_proxy or "",
            limit_concurrency=MOST_REQUESTS,
            timeout_graceful_shutdown=3,
        )


def _names(instruments: dict[str, Any]) -> list[str]:
    return [instrument.exported.name for instrument in instruments.values()]


def address(options: argparse.Namespace, secure: bool) -> str:
    """Where the page is; behind a proxy, where the proxy serves it."""
    name = (options.name or options.make_certificate or [options.host])[0]
    if options.behind_proxy:
        return f"https://{name}/, for the proxy http://{options.host}:{options.port}/"
    return f"http{'s' * secure}://{name}:{options.port}/"


def _transport(options: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Certificate and key, where there are.

    Raises:
        UserError: others could listen in, and nobody has said that they may.
    """
    if options.make_certificate:
        from etude.studio.certificate import certificate

        return certificate(options.make_certificate, options.folder)
    for path in (options.tls_cert, options.tls_key):
        if path is not None and not path.is_file():
            raise UserError("a file of the certificate is missing", where=str(path))
    if bool(options.tls_cert) != bool(options.tls_key):
        raise UserError("a certificate and its key belong together", do="name both, or neither")
    open_to_others = options.host not in LOOPBACK
    if open_to_others and not (options.tls_cert or options.behind_proxy or options.insecure):
        raise UserError(
            "the studio would be open to other machines without encryption",
            where=f"--host {options.host}",
            why="what is recorded could be overheard, and browsers allow no microphone",
            do="add --make-certificate NAME, --tls-cert and --tls-key, or --behind-proxy; "
            "--insecure does without",
        )
    return options.tls_cert, options.tls_key


def hosts(options: argparse.Namespace) -> set[str]:
    """The names that a request may ask for."""
    names = {*options.name, *options.make_certificate, "localhost", "127.0.0.1", "[::1]"}
    if options.host not in LOOPBACK:
        names |= {socket.gethostname(), options.host} - {"0.0.0.0", "::"}  # noqa: S104
    return {f"[{name}]" if ":" in name and "[" not in name else name for name in names}


def devices_of(words: str) -> list[str]:
    """The devices: one worker each.

    Raises:
        UserError: a word that is none.
    """
    if not words:
        if not NVIDIA.exists():  # torch takes seconds to say so
            return ["cpu"]
        from etude.devices import choose_device

        return ["cuda:0" if choose_device() == "cuda" else "cpu"]
    found = words.split(",")
    numbered = all(
        w == "cpu" or (w.startswith("cuda:") and w.removeprefix("cuda:").isdigit()) for w in found
    )
    if not numbered or len(set(found)) < len(found):
        raise UserError(
            f"these are no devices: {words}", do="write cpu, or cuda:0,cuda:1; each of them once"
        )
    return found


def read_code(path: Path | None) -> str | None:
    """A code from a file that nobody else can read.

    Raises:
        UserError: it cannot be read, others can read it, or it is short.
    """
    if path is None:
        return None
    try:
        mode, code = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("a code cannot be read", where=str(path), why=str(error)) from None
    if stat.S_IMODE(mode) & 0o077:
        raise UserError(
            "others can read a code", where=str(path), do=f"keep it to yourself: chmod 600 {path}"
        )
    if len(code) < 6:
        raise UserError("a code is too short", where=str(path), do="six characters at least")
    return code


class only_one:  # noqa: N801 (a context manager, used as a word)
    """One server a folder: two would end each other's jobs.

    Raises:
        UserError: another one serves from it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: IO[str] | None = None

    def __enter__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file = (self.folder / "studio.lock").open("w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                "another studio serves from this folder",
                where=str(self.folder),
                do="stop it, or name another folder with --folder",
            ) from None

    def __exit__(self, *_: object) -> None:
        assert self.file is not None
        self.file.close()
