"""Reading and writing audio files: any format that libsndfile knows, any part, any lower rate.

Samples are float32 with full scale at 1.0. Conversion of the rate goes down (soxr, high
quality); it goes up only when the caller says so, since upsampled audio looks like audio of
the higher rate and holds nothing of it.
"""

from __future__ import annotations

import errno
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
import soxr

from etude.audio.levels import INT16_SCALE
from etude.audio.truncation import why_closed
from etude.errors import UserError
from etude.storage import atomic

# Output samples of context on either side of a part that is read, for the resampling filter.
CONTEXT = 256
# An MP3 decoder says nothing sensible for some frames after a jump; this many samples are skipped.
MP3_RUN_UP = 2**14


class AudioError(UserError):
    """A file that cannot be used; `reason` is what the rows of an index.csv say."""

    def __init__(self, reason: str, path: Path | str) -> None:
        self.reason, self.path = reason, str(path)
        super().__init__(
            "an audio file cannot be used",
            where=self.path,
            why=reason,
            do="replace the file or leave it out",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return AudioError, (self.reason, self.path)


class AudioFile:
    """An open audio file of which parts are read by seeking.

    Attributes: rate (Hz), channels, frames (samples per channel), seconds.

    Raises:
        AudioError: `unreadable`, `corrupt_audio` or `ends_early` when it cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb"):  # libsndfile says no more than "system error"
                pass
            self._file = soundfile.SoundFile(_name(self.path))
        except OSError as error:
            raise AudioError(f"unreadable: {error.strerror}", path) from None
        except (soundfile.LibsndfileError, TypeError) as error:
            raise AudioError(why_closed(self.path, message(error)), path) from None
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames

    @property
    def seconds(self) -> float:
        """Length."""
        return self.frames / self.rate

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def length(self, rate: int) -> int:
        """Samples that the whole file has at `rate`."""
        return self.frames * rate // self.rate

    def read(
        self,
        rate: int | None = None,
        start_s: float = 0.0,
        seconds: float | None = None,
        mono: bool = True,
        upsample: bool = False,
    ) -> np.ndarray:
        """Read a part at a rate (none: the file's own).

        A part equals the same part of the whole converted file: it is read with enough audio
        around it for the filter, from a position that both rates share.

        Returns:
            float32 [samples], the mean of the channels; or [channels, samples] if not `mono`.
            Of `seconds` there are round(seconds * rate) samples, fewer where the file ends.

        Raises:
            AudioError: `rate_too_low`, `non_finite_samples`, `ends_early` or `corrupt_audio`.
        """
        rate = rate or self.rate
        if rate > self.rate and not upsample:
            raise AudioError(f"rate_too_low: {self.rate} Hz, {rate} Hz is wanted", self.path)
        start = min(round(start_s * rate), self.length(rate))
        stop = self.length(rate)
        if seconds is not None:
            stop = min(stop, start + round(seconds * rate))
        if rate == self.rate:
            samples = self._frames(start, stop)
        else:
            samples = self._resampled(rate, start, stop, mono)
        samples = samples.mean(axis=1) if mono else np.ascontiguousarray(samples.T)
        if not np.isfinite(samples).all():
            raise AudioError("non_finite_samples", self.path)
        return samples

    def _resampled(self, rate: int, start: int, stop: int, mono: bool) -> np.ndarray:
        """Samples start to stop of the file as converted to `rate`: [samples, channels]."""
        shared = math.gcd(rate, self.rate)
        step_out, step_in = rate // shared, self.rate // shared
        # The filter is as long as the lower of the two rates makes it.
        context = CONTEXT * max(1, -(-rate // self.rate))
        first = max(0, start - context) // step_out
        last = -(-(stop + context) * self.rate // rate)
        samples = self._frames(first * step_in, min(self.frames, last))
        if mono:
            samples = samples.mean(axis=1, keepdims=True)
        converted = soxr.resample(samples, self.rate, rate, quality="HQ")
        begin = start - first * step_out
        part = converted[begin : begin + stop - start]
        missing = stop - start - len(part)  # soxr may round the length down by one sample
        return np.pad(part, ((0, missing), (0, 0)))

    def _frames(self, start: int, stop: int) -> np.ndarray:
        """Samples at the file's own rate: float32 [samples, channels]."""
        run_up = min(start, MP3_RUN_UP) if self._file.format == "MP3" else 0
        try:
            self._file.seek(start - run_up)
            samples = self._file.read(stop - start + run_up, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"corrupt_audio: {message(error)}", self.path) from None
        if len(samples) < stop - start + run_up:
            raise AudioError("ends_early: not all of its samples are there", self.path)
        return samples[run_up:]


def read_audio(
    path: Path | str,
    rate: int | None = None,
    start_s: float = 0.0,
    seconds: float | None = None,
    mono: bool = True,
    upsample: bool = False,
) -> np.ndarray:
    """Read a file or a part of it: see `AudioFile.read`."""
    with AudioFile(path) as file:
        return file.read(rate, start_s, seconds, mono, upsample)


def write_wav(path: Path | str, samples: np.ndarray, rate: int) -> None:
    """Write [samples] or [channels, samples] as 16-bit WAV, atomically; equal input, equal bytes.

    What lies beyond full scale is clipped, never wrapped. A file read by `read_audio` at its own
    rate and written again is the same file.

    Raises:
        ValueError: for samples that are not finite.
    """
    samples = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite")
    integers = np.clip(np.rint(samples * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1)
    encoded = encode(integers.T.astype(np.int16), rate, "PCM_16", "WAV")
    with atomic(path) as temporary:
        temporary.write_bytes(encoded)


def encode(samples: np.ndarray, rate: int, subtype: str, form: str) -> memoryview:
    """The bytes of an audio file of [samples, channels].

    By way of memory: soundfile ends a file on disk with fsync, which for segments of two seconds
    took four fifths of the time of cutting.
    """
    memory = io.BytesIO()
    soundfile.write(memory, samples, rate, subtype, format=form)
    return memory.getbuffer()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """libsndfile has no word for a full disk; what a job can explain is an OSError."""
    try:
        yield
    except (soundfile.LibsndfileError, AssertionError) as error:
        why = f"libsndfile cannot write ({error}); most often no space is left"
        raise OSError(errno.ENOSPC, why, str(path)) from None


def _name(path: Path) -> bytes:
    """Absolute, since "-" alone is the standard input; bytes, since a name may not be UTF-8."""
    return os.fsencode(path.absolute())


def message(error: Exception) -> str:
    """libsndfile's own words, without the path in front of them."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")
