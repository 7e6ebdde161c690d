"""Melody for MusicGen's melody network: which pitch class is strongest, frame by frame.

As in transformers' MusicgenMelodyFeatureExtractor, which needs torchaudio: power spectra (Hann,
2^14 samples, every 2^12, centred), summed by a filter bank of pitch classes, and of each frame only
the strongest, as one of twelve. The network reads them in front of the text, repeated or cut to a
fixed length. No melody is, as in the original, the first pitch class all the time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.audio.files import AudioError, read_audio
from etude.errors import UserError

VERSION = 1  # raised when the same recording gives another melody

FFT, HOP, CHROMA = 2**14, 2**12, 12


class Prefix(nn.Module):
    """What stands in front of the text: a melody [B, T, chroma] -> [B, length, width]."""

    def __init__(self, chroma: int, length: int, width: int) -> None:
        super().__init__()
        self.chroma, self.length = chroma, length
        self.projection = nn.Identity() if chroma == width else nn.Linear(chroma, width)

    def forward(self, melody: Tensor) -> Tensor:
        """Repeated or cut to `length`."""
        projected = self.projection(melody)
        times = -(-self.length // projected.shape[1])
        out: Tensor = projected.repeat(1, times, 1)[:, : self.length]
        return out

    def none(self, batch: int, like: Tensor) -> Tensor:
        """What stands there where no melody is asked for, of the type and device of `like`."""
        melody = torch.zeros(batch, 1, self.chroma, dtype=like.dtype, device=like.device)
        melody[..., 0] = 1
        return self(melody)


def melody_of(wave: Tensor, rate: int) -> Tensor:
    """The melody of a recording [samples] -> one of twelve [frames, 12]."""
    from transformers.audio_utils import chroma_filter_bank

    if (missing := FFT - len(wave)) > 0:
        wave = F.pad(wave, (missing // 2, missing - missing // 2))
    window = torch.hann_window(FFT)
    spectrum = torch.stft(wave, FFT, HOP, window=window, center=True, return_complex=True)
    bank = chroma_filter_bank(
        num_frequency_bins=FFT, num_chroma=CHROMA, sampling_rate=rate, tuning=0
    )
    classes = torch.from_numpy(np.asarray(bank)).float() @ spectrum.abs().square()
    return F.one_hot(classes.argmax(0), CHROMA).float()


def read_melody(path: Path, rate: int) -> Tensor:
    """The melody of a file [frames, 12].

    Raises:
        UserError: it cannot be read, or there is nothing in it.
    """
    try:
        wave = read_audio(path, rate, upsample=True)
    except (AudioError, OSError) as error:
        raise UserError(
            "the melody cannot be read", code="unusable-recording", where=str(path), why=str(error)
        ) from None
    if not len(wave) or not np.abs(wave).max() > 0:
        raise UserError(
            "there is no melody in this file",
            code="no-melody",
            where=str(path),
            why="it is silent",
            do="name a recording of a tune; best of one voice",
        )
    return melody_of(torch.from_numpy(wave), rate)
