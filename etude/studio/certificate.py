"""A self-signed certificate, made by openssl: microphones need https, except on localhost."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
from pathlib import Path

from etude.errors import UserError

DAYS = 825  # the longest that browsers take
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def certificate(names: list[str], folder: Path) -> tuple[Path, Path]:
    """A certificate for these names and addresses, and its key; made once.

    Browsers read the subjectAltName alone, so every name is there.

    Raises:
        UserError: a name that is none, or openssl is not there or fails.
    """
    wanted = ",".join(_alternative(name) for name in names)
    cert, key, of = (folder / name for name in ("studio.crt", "studio.key", "studio.names"))
    if cert.is_file() and key.is_file() and of.is_file() and of.read_text() == wanted:
        return cert, key
    if shutil.which("openssl") is None:
        raise UserError(
            "no certificate can be made",
            why="openssl is not installed",
            do="install it, or name a certificate with --tls-cert and --tls-key",
        )
    folder.mkdir(parents=True, exist_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", str(DAYS), "-subj", f"/CN={names[0]}"]
    command += ["-addext", f"subjectAltName={wanted}", "-keyout", str(key), "-out", str(cert)]
    key.touch(mode=0o600)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError("openssl made no certificate", why=done.stderr.strip()[-300:])
    key.chmod(0o600)
    of.write_text(wanted)
    return cert, key


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        if not NAME.fullmatch(name):
            raise UserError(
                f"{name!r} is no name of a host", do="name one such as studio.local"
            ) from None
        return f"DNS:{name}"
