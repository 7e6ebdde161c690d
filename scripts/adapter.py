"""What every adapter has in common: the way in and the way out.

It makes the etude package importable wherever the job runs (host, conda, SLURM), sends log
messages to the rule's log and to the terminal, and turns a user's error into four lines.
"""

import errno
import faulthandler
import logging
import os
import signal
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from etude.errors import UserError
from etude.runs import record
from etude.slurm import seconds_used

QUIET_JOBS = "ETUDE_QUIET_JOBS"  # set by `snakemake --logger etude`
TEMPORARY_FAILURE = 75  # sysexits' EX_TEMPFAIL: `retries` continues from the saved state


# What the user's disk and folders cause, whoever meets it; the rest is a defect of ours.
DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
)

# Inputs of rules that are parts of an experiment.
KINDS_OF_PARTS = (
    *("packed", "tokenizers", "models", "latents", "captions", "files"),
    *("pieces", "wav"),
)


@contextmanager
def job(snakemake):
    """Run the body of an adapter; what it did not expect is in the job's log as well."""
    log = logging.getLogger("etude")
    try:
        _log_to(log, Path(snakemake.log[0]))
        with record(snakemake.rule):
            yield
    except Exception as error:
        message = _in_a_users_words(error)
        if message is None:
            _keep_traceback(log)
            raise
        _give_up(log, message)
    finally:  # scripts/by_hand.py runs several in one process
        for handler in log.handlers[:]:
            log.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                faulthandler.disable()
                with suppress(OSError):  # a full disk
                    handler.close()


def parts_of(snakemake):
    """What an experiment is made of, from a rule's inputs and its `params.roles`.

    Inputs are packed, tokenizers (of these roles, in order), models (files of weights), latents
    (folders), captions, files (the user's own), pieces and wav; a rule has those that it needs.
    """
    from etude.systems.base import Parts

    files = {}
    for key in KINDS_OF_PARTS:
        found = snakemake.input.get(key, [])
        files[key] = [Path(file) for file in ([found] if isinstance(found, str) else found)]
    return Parts(
        packed=next(iter(files["packed"]), None),
        tokenizers=dict(zip(snakemake.params.get("roles", []), files["tokenizers"], strict=True)),
        # results/models/{experiment}/{stage}/seed-{seed}/model.safetensors
        models={file.parts[-3]: file.parent for file in files["models"]},
        latents={_encoded_by(folder, snakemake): folder for folder in files["latents"]},
        captions=next(iter(files["captions"]), None),
        files={file.name: file for file in files["files"]},
        pieces=next(iter(files["pieces"]), None),
        wav=tuple(files["wav"]),
    )


def _encoded_by(folder, snakemake):
    """The stage of results/latents/{experiment}/{stage}/seed-{seed}; of another experiment too."""
    experiment, stage = folder.parts[-3:-1]
    return stage if experiment == snakemake.wildcards.experiment else f"{experiment}/{stage}"


def _give_up(log, message):
    log.error("%s", message)
    sys.exit(1)


def _in_a_users_words(error):
    """What happened and what to do, where it is not for us to fix; else None."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("etude"):
        return (
            f"the package {error.name} is not installed in this environment\n"
            "  do:    run make (make setup, then .venv/bin/snakemake), or add --sdm conda"
        )
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return (
            f"a file cannot be written or read: {error.strerror}\n"
            f"  where: {error.filename or 'results/'}\n"
            "  do:    free some space or mend the permissions, then run the same command again"
        )
    return None


def _log_to(log, path):
    plain = logging.Formatter("%(message)s")
    dated = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.raiseExceptions = False  # a full disk is told once, not at every line of the log
    log.setLevel(logging.INFO)
    path.parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(path, "w")
    _add(log, to_file, dated)
    if QUIET_JOBS in os.environ:  # the terminal has a line of its own; all else is for the log
        os.dup2(to_file.stream.fileno(), sys.stderr.fileno())
    else:
        _add(log, logging.StreamHandler(), plain)
    faulthandler.enable(to_file.stream)  # a crash in C code leaves a trace, of workers too


def _add(log, handler, form):
    handler.setFormatter(form)
    log.addHandler(handler)


def _keep_traceback(log):
    """To the log's file alone: the terminal gets it from Python, or is spared it."""
    for handler in log.handlers:
        if isinstance(handler, logging.FileHandler):
            with suppress(OSError):
                handler.stream.write(traceback.format_exc())
                handler.flush()


class StopRequest:
    """True once SIGTERM came or 90 % of the job's time is over: then training saves and ends.

    In SLURM that time began when the job did.
    """

    def __init__(self, runtime_minutes):
        self.stopped = False
        self.deadline = time.monotonic() - seconds_used() + 0.9 * 60 * float(runtime_minutes)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, number, frame):
        self.stopped = True

    def __call__(self):
        """Whether to stop now."""
        return self.stopped or time.monotonic() > self.deadline
