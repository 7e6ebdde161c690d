"""Spectra with one frame every hop, and filters over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def stft(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    """Complex spectrum [bins, samples // hop + 1] of [samples], Hann window.

    Frame i is centred on sample i * hop; the wave is reflected at its ends, or followed by zeros
    where it is shorter than half a window.
    """
    return torch.stft(
        wave,
        n_fft,
        hop,
        window=torch.hann_window(n_fft),
        pad_mode="reflect" if len(wave) > n_fft // 2 else "constant",
        return_complex=True,
    )


def magnitudes(wave: Tensor, n_fft: int, hop: int, bins: int | None = None) -> Tensor:
    """Amplitude spectrum: a sine of full scale has a peak of 1.

    Args:
        wave: float32 [samples].
        bins: only the lowest so many.

    Returns:
        float32 [samples // hop + 1, bins]; frame i is centred on sample i * hop.
    """
    spectrum = stft(wave, n_fft, hop)
    return spectrum[:bins].abs().T * (4 / n_fft)


def bin_frequencies(n_fft: int, rate: int) -> Tensor:
    """Centre of each bin in Hz: [n_fft // 2 + 1]."""
    return torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (rate / n_fft)


def triangles(positions: Tensor, centres: Tensor) -> Tensor:
    """Triangular filters that reach from one centre to the next and sum to 1.

    A filter too narrow to hold any bin takes the bin nearest to its centre.

    Args:
        positions: place of each bin on a scale (semitones, mel), rising.
        centres: place of each filter on that scale, equally spaced.

    Returns:
        float32 [bins, filters].
    """
    width = centres[1] - centres[0]
    distance = (positions[:, None] - centres[None, :]).abs()
    weights = (1 - distance / width).clamp(min=0)
    empty = weights.sum(0) == 0
    weights[distance.argmin(0)[empty], empty.nonzero().flatten()] = 1
    return (weights / weights.sum(0)).float()


def semitones(frequency: Tensor, reference: float) -> Tensor:
    """Distance from a reference in equal-tempered semitones (0 Hz is far below)."""
    return 12 * torch.log2(frequency.clamp(min=1e-3) / reference)


def mel(frequency: Tensor) -> Tensor:
    """O'Shaughnessy's mel scale, 2595 log10(1 + f / 700)."""
    return 2595 * torch.log10(1 + frequency / 700)


def mel_filters(n_fft: int, rate: int, filters: int) -> Tensor:
    """Triangles on the mel scale from 0 Hz to half the rate: [bins, filters]."""
    positions = mel(bin_frequencies(n_fft, rate))
    return triangles(positions, torch.linspace(0, float(positions[-1]), filters + 2)[1:-1].double())


def cosine_transform(size: int, coefficients: int) -> Tensor:
    """Orthonormal DCT-II as a matrix [size, coefficients]."""
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * math.pi / size
    matrix = torch.cos(place[:, None] * torch.arange(coefficients)) * math.sqrt(2 / size)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.float()


def slope(frames: Tensor) -> Tensor:
    """Difference between the next and the previous frame, [frames, dim]; the ends are repeated."""
    padded = torch.cat([frames[:1], frames, frames[-1:]])
    return padded[2:] - padded[:-2]
