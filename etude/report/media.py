"""Sounds and pictures of the page, made side by side in processes.

Audio becomes FLAC: the same samples in about half the bytes of WAV, and every browser plays it
from disk. A clip with a MIDI file beside it is drawn as a piano roll, any other as a spectrogram.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from etude.audio.files import encode
from etude.midi.notes import MidiError, read_midi
from etude.pool import map_in_order
from etude.report.pianoroll import write_roll
from etude.report.spectrogram import write_spectrogram

log = logging.getLogger(__name__)
WHOLE = 1.5  # a neighbour's file up to this many times as long as the clip is the excerpt itself
CHUNK = 8


@dataclass(frozen=True)
class Job:
    """What to play: all of a file, or the part from `start_s` that is `seconds` long."""

    source: Path
    name: str  # path of what is made below media/, without suffix
    start_s: float = 0.0
    seconds: float = 0.0  # 0: all of it


@dataclass(frozen=True)
class Medium:
    """What was made: paths relative to the page, or why nothing was."""

    audio: str = ""
    picture: str = ""
    seconds: float = 0.0
    trouble: str = ""

    @property
    def roll(self) -> bool:
        """Whether the picture shows notes."""
        return self.picture.endswith(".svg")


def make_media(jobs: list[Job], folder: Path, threads: int) -> dict[Job, Medium]:
    """Run every job once.

    Args:
        folder: the folder `media` while it is being made.
    """
    once = list(dict.fromkeys(jobs))
    make = partial(make_medium, folder=folder)
    made = map_in_order(make, once, threads, title="sounds and pictures", unit="clip", chunk=CHUNK)
    return dict(zip(once, made, strict=True))


def make_medium(job: Job, folder: Path) -> Medium:
    """Copy a sound and draw it; one that cannot be read says so."""
    path = folder / job.name
    try:
        info = soundfile.info(job.source)
        samples, rate = _read(job, info)
        path.parent.mkdir(parents=True, exist_ok=True)
        depth = "PCM_16" if info.subtype in ("PCM_16", "PCM_U8", "PCM_S8") else "PCM_24"
        # 16-bit samples come back as they were: they are multiples of 1/32768.
        audio = path.with_name(f"{path.name}.flac")
        audio.write_bytes(encode(samples, rate, depth, "FLAC"))
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        return Medium(trouble=f"cannot be played ({reason})")
    seconds = len(samples) / rate
    suffix = _draw(job, samples.mean(axis=1), rate, path)
    beside = Path("media") / job.name
    return Medium(
        f"{beside.as_posix()}.flac", f"{beside.as_posix()}{suffix}", seconds=round(seconds, 3)
    )


def _read(job: Job, info: soundfile._SoundFileInfo) -> tuple[np.ndarray, int]:
    """Samples [n, channels] of the part that is wanted."""
    start, frames = 0, -1
    if job.seconds and info.duration > WHOLE * job.seconds:
        frames = round(job.seconds * info.samplerate)
        start = min(round(job.start_s * info.samplerate), max(info.frames - frames, 0))
    return soundfile.read(job.source, frames, start, dtype="float64", always_2d=True)


def _draw(job: Job, wave: np.ndarray, rate: int, path: Path) -> str:
    """A picture beside the sound -> its suffix."""
    notes = job.source.with_suffix(".mid")
    if notes.is_file():
        try:
            table = read_midi(notes)
            whole = soundfile.info(job.source).duration
            start = job.start_s if job.seconds and whole > WHOLE * job.seconds else 0.0
            write_roll(table, len(wave) / rate, path.with_name(f"{path.name}.svg"), start)
            return ".svg"
        except MidiError as error:
            log.warning("%s: %s, so its sound is drawn", notes, error)
    write_spectrogram(wave, rate, path.with_name(f"{path.name}.png"))
    return ".png"
