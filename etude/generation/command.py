"""`python -m etude generate`: clips from a trained experiment, outside the workflow."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

from etude import config
from etude.audio.files import write_wav
from etude.config import Sampling
from etude.config.systems.audiolm import Generate
from etude.config.systems.symbolic_lm import SymbolicGenerate
from etude.errors import UserError
from etude.generation.trained import Trained, in_export, in_results
from etude.storage import write_json
from etude.systems.audiolm.player import (
    Instrument,
    ProgressBar,
    fade_out,
    generate_clips,
    read_prime,
)
from etude.systems.audiolm.sampling import GenerationProgress

log = logging.getLogger(__name__)


def generate(options: argparse.Namespace) -> list[Path]:
    """Write `<output>1.wav` … and give back their paths.

    Raises:
        UserError: an unknown experiment, one that is not trained yet, a value out of range.
    """
    trained = open_trained(options)
    if isinstance(trained.generate, SymbolicGenerate):
        from etude.systems.symbolic_lm.command import generate_music

        return generate_music(trained, options)
    wanted = _wanted(trained.generate, options)
    instrument = cast(Instrument, trained.load())
    window = instrument.generator.window_seconds
    if wanted.hop is not None and wanted.hop > window:
        raise UserError(
            f"--hop {wanted.hop:g} is more than a window, which is {window:g} s long",
            do="give a smaller --hop; half of the window is usual",
        )
    prime = read_prime(options.prime_wave, instrument, wanted.hop) if options.prime_wave else None
    written = []
    with ProgressBar("generating") as bar:
        tell = teller(bar, options.progress)
        clips = generate_clips(instrument, wanted, trained.seed, options.seed, prime, tell)
        for number, clip in enumerate(clips, start=1):
            if clip.row["ended"] == "true":
                log.info("track %d ended by itself at %s s", number, clip.row["seconds"])
            path = Path(f"{options.output.removesuffix('.wav')}{number}.wav")
            if path.exists():
                log.warning("%s is replaced", path)
            write_wav(path, fade_out(clip.wave, instrument.rate, options.fade), instrument.rate)
            written.append(path)
        tell(GenerationProgress("done", 100.0, wanted.seconds, 0.0))
    for path in written:
        print(path)
    return written


def open_trained(options: argparse.Namespace) -> Trained:
    """The parts of what the command line names: an exported folder or an experiment."""
    if options.exported is None:
        settings = config.read(config.DEFAULT, *options.configfile)
        return in_results(settings, options.experiment, options.train_seed)
    if options.configfile or options.train_seed is not None:
        raise UserError(
            "an exported folder has its own configuration and one training seed",
            do="leave out --configfile and --train_seed beside --from",
        )
    return in_export(options.exported)


def _wanted(base: Generate, options: argparse.Namespace) -> Generate:
    """The experiment's generation settings with what the command line says."""
    chosen = {key: getattr(options, key) for key in ("temperature", "top_k", "top_p")}
    sampling = base.sampling.model_dump() | {k: v for k, v in chosen.items() if v is not None}
    values = {
        "clips": options.batch_size,
        "seconds": options.duration,
        "hop": options.hop or base.hop,
        "batch_size": min(options.batch_size, base.batch_size),
    }
    return config.checked(Generate, {**values, "sampling": config.checked(Sampling, sampling)})


def teller(bar: ProgressBar, path: Path | None) -> Callable[[GenerationProgress], None]:
    """Progress to the terminal and, each whole percent, to a JSON file (atomically)."""
    last = -1

    def tell(event: GenerationProgress) -> None:
        nonlocal last
        bar(event)
        if path is not None and int(event.percent) > last:
            last = int(event.percent)
            values = {
                "stage": event.stage,
                "percent": round(event.percent, 2),
                "seconds": round(event.seconds, 3),
                "eta_seconds": round(event.eta_seconds, 1),
            }
            write_json(path, values)

    return tell
