"""`python -m etude continue` and `generate` for symbolic experiments: .mid and .wav."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from etude import config
from etude.audio.files import write_wav
from etude.config.systems.symbolic_lm import SymbolicGenerate, SymbolicSampling
from etude.errors import UserError
from etude.generation.command import open_trained, teller
from etude.generation.trained import Trained
from etude.midi.notes import NoteTable
from etude.midi.writing import write_midi
from etude.systems.audiolm.player import ProgressBar, fade_out
from etude.systems.audiolm.sampling import GenerationProgress
from etude.systems.symbolic_lm.player import (
    Prompt,
    SymbolicClip,
    SymbolicInstrument,
    Told,
    after,
    generate_symbolic,
    read_prompt,
)

log = logging.getLogger(__name__)
FIRST_TOKENS = 256  # that are tried; doubled until there is music enough
MOST_TOKENS = 16384
BAR = 4  # quarters
CHOICES = ("temperature", "top_k", "top_p", "min_p")


@dataclass
class Length:
    """How much is wanted behind a prompt: bars of four quarters, or seconds."""

    bars: float | None = None
    seconds: float | None = None

    def end_s(self, clip: SymbolicClip) -> float:
        """Second at which a clip is over; a bar is as long as at the clip's last tempo."""
        if self.seconds is not None:
            return clip.prime_s + self.seconds
        microseconds = clip.table.tempos[-1, 1] if len(clip.table.tempos) else 500_000
        return clip.prime_s + (self.bars or 0) * BAR * float(microseconds) / 1e6


def generate_music(trained: Trained, options: argparse.Namespace) -> list[Path]:
    """Write `<output>1.mid`, `<output>1.wav` … from nothing and give back their paths.

    Raises:
        UserError: not trained yet, or an option that means nothing here.
    """
    if options.prime_wave or options.hop:
        raise UserError(
            "a symbolic model goes on from MIDI, and its window moves in tokens",
            do="use `python -m etude continue my.mid --experiment …` instead of --prime_wave, "
            "and leave out --hop",
        )
    length = Length(seconds=options.duration)
    instrument = cast(SymbolicInstrument, trained.load())
    return _write(trained, instrument, [], length, options, options.fade)


def continue_midi(options: argparse.Namespace) -> list[Path]:
    """Go on from the user's own MIDI: the whole file, then so many bars.

    Raises:
        UserError: no symbolic experiment, a prompt that cannot be used, an option out of range.
    """
    trained = open_trained(options)
    if trained.corpus is None:
        raise UserError(
            f"{options.experiment or options.exported} makes audio, not notes",
            why="only symbolic experiments go on from MIDI",
            do="name one of the system symbolic_lm, or use `generate --prime_wave`",
        )
    instrument = cast(SymbolicInstrument, trained.load())
    prompt = read_prompt(options.midi, instrument, options.prompt_tokens)
    length = Length(bars=None if options.seconds else options.bars, seconds=options.seconds)
    return _write(trained, instrument, [prompt], length, options, 0.0)


def _write(
    trained: Trained,
    instrument: SymbolicInstrument,
    prompts: Sequence[Prompt],
    length: Length,
    options: argparse.Namespace,
    fade_s: float,
) -> list[Path]:
    wanted = _wanted(cast(SymbolicGenerate, trained.generate), options)
    name = str(options.output).removesuffix(".wav").removesuffix(".mid")
    written = []
    with ProgressBar("generating") as bar:
        tell = teller(bar, options.progress)
        clips = _long_enough(instrument, wanted, options.seed, prompts, length, tell)
        for number, (clip, table) in enumerate(clips, start=1):
            if clip.drawn.ended:
                log.info("track %d ended by itself at %.1f s", number, table.seconds)
            path = Path(f"{name}{number}.mid")
            if path.exists():
                log.warning("%s is replaced", path)
            write_midi(table, path)
            wave = fade_out(instrument.play(table), instrument.rate, fade_s)
            write_wav(path.with_suffix(".wav"), wave, instrument.rate)
            written += [path, path.with_suffix(".wav")]
        tell(GenerationProgress("done", 100.0, 0.0, 0.0))
    for path in written:
        print(path)
    return written


def _long_enough(
    instrument: SymbolicInstrument,
    wanted: SymbolicGenerate,
    seed: int,
    prompts: Sequence[Prompt],
    length: Length,
    tell: Told,
) -> list[tuple[SymbolicClip, NoteTable]]:
    """Clips that reach the end or ended by themselves, cut there.

    The same streams give the same tokens each time, so more tokens make the music longer and
    change nothing of it.
    """
    count = FIRST_TOKENS
    while True:
        settings = wanted.model_copy(update={"new_tokens": count})
        clips = list(generate_symbolic(instrument, settings, seed, prompts, tell))
        short = [
            clip
            for clip in clips
            if not clip.drawn.ended and clip.table.seconds < length.end_s(clip)
        ]
        if not short or count >= MOST_TOKENS:
            break
        count *= 2
    if short:
        log.warning("%d clips are shorter than asked after %d tokens", len(short), count)
    return [(clip, after(clip.table, 0.0, length.end_s(clip))) for clip in clips]


def _wanted(base: SymbolicGenerate, options: argparse.Namespace) -> SymbolicGenerate:
    """The experiment's settings with what the command line says."""
    chosen = {key: getattr(options, key, None) for key in CHOICES}
    sampling = base.sampling.model_dump() | {k: v for k, v in chosen.items() if v is not None}
    if getattr(options, "free", False):
        sampling["grammar"] = False
    values = base.model_dump() | {
        "clips": options.batch_size,
        "batch_size": min(options.batch_size, base.batch_size),
        "sampling": config.checked(SymbolicSampling, sampling),
        "prime": None,
        "prompt_tokens": getattr(options, "prompt_tokens", None) or 2**20,
    }
    return config.checked(SymbolicGenerate, values)
