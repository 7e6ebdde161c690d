"""The user's own recordings: looked through and copied block by block, however long they are."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import soundfile

from etude.audio.files import AudioError, AudioFile, message, writing
from etude.audio.levels import dbfs
from etude.audio.truncation import promised, shortfall
from etude.storage import atomic

VERSION = 2  # raised when hashes or copies change
BLOCK = 2**18  # samples per channel: some megabytes
FINE = 2**12  # samples, where it is asked how far a file can be read
# Of full scale, +40 dB: a recording in floating point may be loud, but what lies beyond is in
# other units or is no sound at all, and one such file would decide the tokens of all others.
LOUDEST = 100.0
RIFF_LIMIT = 2**32 - 2**20  # sizes in a WAV header have 32 bits

# Formats of the source that a WAV keeps; 8-bit and lossy ones become 16-bit.
KEPT = {
    "PCM_16": ("int16", "PCM_16"),
    "PCM_24": ("int32", "PCM_24"),
    "PCM_32": ("int32", "PCM_32"),
    "FLOAT": ("float32", "FLOAT"),
    "DOUBLE": ("float64", "DOUBLE"),
}


class Summary(NamedTuple):
    """What a recording is: length, level, and the SHA-256 of its samples."""

    seconds: float
    rate: int
    channels: int
    peak: float
    rms_dbfs: float
    samples_hash: str
    constant: bool = False  # all samples are one number


class Recording(AudioFile):
    """An audio file that is read from its start to its end."""

    def __enter__(self) -> Self:
        return self

    def blocks(self, dtype: str = "float32") -> Iterator[np.ndarray]:
        """All samples in order: [frames, channels] at a time.

        Raises:
            AudioError: `corrupt_audio`; `ends_early` when the file ends before its header says.
        """
        if short := shortfall(self.path, self.seconds):
            raise AudioError(f"ends_early: {short}", self.path)
        count, size = 0, BLOCK * 8 // max(8, self.channels)  # a header may say 1024 channels
        try:
            self._file.seek(0)  # a damaged FLAC fails here already
            while len(block := self._file.read(size, dtype=dtype, always_2d=True)):
                count += len(block)
                yield block
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(self._why_broken(error), self.path) from None
        if count < self.frames:
            short = promised(count / self.rate, self.seconds)
            raise AudioError(f"ends_early: {short}", self.path)

    def _why_broken(self, error: Exception) -> str:
        """A FLAC decoder says the same of an end that is missing and of damage on the way."""
        if self._file.format != "FLAC":
            return f"corrupt_audio: {message(error)}"
        count, size = 0, self.path.stat().st_size
        with self.path.open("rb") as file:
            with suppress(soundfile.LibsndfileError, RuntimeError):
                again = soundfile.SoundFile(file)
                while block := len(again.read(FINE, dtype="int16", always_2d=True)):
                    count += block
            found = promised(count / self.rate, self.seconds)
            reason = "ends_early: " if file.tell() == size else f"corrupt_audio: {message(error)}, "
        return reason + found

    @property
    def subtype(self) -> str:
        """libsndfile's name of the sample format."""
        return str(self._file.subtype)


def summarise(path: Path | str) -> Summary:
    """Look through a file: its samples as float32 are hashed, and all must be what a sound can be.

    Raises:
        AudioError: `unreadable`, `corrupt_audio`, `ends_early`, `no_samples`, `non_finite_samples`
            or `not_sound`.
    """
    with Recording(path) as file:
        levels, digest = _Levels(file), hashlib.sha256()
        # A double may lie beyond the range of float32, which would be called an infinity.
        for block in file.blocks("float64" if file.subtype == "DOUBLE" else "float32"):
            levels.add(block)
            digest.update(block.astype("<f4", copy=False).tobytes())
        return levels.summary(digest.hexdigest())


def copy_to_wav(source: Path | str, target: Path | str) -> Summary:
    """Write a recording as WAV of the same rate, channels and sample format; atomically.

    8-bit and lossy formats become 16-bit, where what lies beyond full scale is clipped.

    Raises:
        AudioError: as `summarise`.
    """
    with Recording(source) as file, atomic(target) as temporary:
        dtype, subtype = KEPT.get(file.subtype, ("float32", "PCM_16"))
        levels = _Levels(file)
        write = _write_float if subtype in ("FLOAT", "DOUBLE") else _write_pcm
        write(temporary, file, subtype, _measured(file.blocks(dtype), levels))
        return levels.summary("")


def _measured(blocks: Iterator[np.ndarray], levels: _Levels) -> Iterator[np.ndarray]:
    for block in blocks:
        full = -float(np.iinfo(block.dtype).min) if block.dtype.kind == "i" else 1.0
        levels.add(block.astype(np.float64) / full)
        yield block


class _Levels:
    """Peak, RMS and finiteness, added up block by block."""

    def __init__(self, file: Recording) -> None:
        self.file, self.frames, self.energy = file, 0, 0.0
        self.low, self.high = float("inf"), -float("inf")

    def add(self, block: np.ndarray) -> None:
        low, high = float(block.min()), float(block.max())
        peak = max(-low, high)
        if not np.isfinite(peak):
            raise AudioError("non_finite_samples", self.file.path)
        if peak > LOUDEST:
            reason = f"a sample is {peak:.3g}, {dbfs(peak):+.0f} dB beside full scale"
            raise AudioError(f"not_sound: {reason}", self.file.path)
        self.frames += len(block)
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.energy += float(np.square(block, dtype=np.float64).sum())

    def summary(self, samples_hash: str) -> Summary:
        if not self.frames:
            raise AudioError("no_samples", self.file.path)
        level = (self.energy / (self.frames * self.file.channels)) ** 0.5
        rate, channels = self.file.rate, self.file.channels
        peak, constant = max(-self.low, self.high), self.low == self.high
        seconds, decibels = self.frames / rate, dbfs(level)
        return Summary(seconds, rate, channels, peak, decibels, samples_hash, constant)


def _write_pcm(path: Path, file: Recording, subtype: str, blocks: Iterator[np.ndarray]) -> None:
    width = int(subtype.removeprefix("PCM_")) // 8
    size = file.frames * file.channels * width
    container = "WAV" if size < RIFF_LIMIT else "RF64"
    name = os.fsencode(path.absolute())
    with (
        writing(path),
        soundfile.SoundFile(name, "w", file.rate, file.channels, subtype, format=container) as wav,
    ):
        for block in blocks:
            wav.write(block)


def _write_float(path: Path, file: Recording, subtype: str, blocks: Iterator[np.ndarray]) -> None:
    """libsndfile writes the time of day into the header of a float WAV; this does not."""
    width = 4 if subtype == "FLOAT" else 8
    size = file.frames * file.channels * width
    if size >= RIFF_LIMIT:
        raise AudioError("too_large: over 4 GB of floating-point samples", file.path)
    frame = file.channels * width
    with path.open("wb") as target:
        target.write(struct.pack("<4sI4s", b"RIFF", size + 50, b"WAVE"))
        form = (3, file.channels, file.rate, file.rate * frame, frame, 8 * width, 0)
        target.write(struct.pack("<4sIHHIIHHH", b"fmt ", 18, *form))
        target.write(struct.pack("<4sII", b"fact", 4, file.frames))
        target.write(struct.pack("<4sI", b"data", size))
        for block in blocks:
            target.write(block.astype(f"<f{width}", copy=False).tobytes())
